#pragma once

#include <limits>

#include "minim/runtime/kernels/embedding.h"
#include "runtime/kernel_case.h"

/// What every set of kernels for embeddings does. Sums are FP32 in a fixed order, so that all have the oracle's bits.
namespace minim::embedding_suite {

using kernel_case::kFloatingTypes;
using kernel_case::value_at;

class KernelEmbedding : public kernel_case::KernelCase {
 protected:
  static constexpr std::int64_t kRows = 11;

  /// Indices of all rows but the last, the first of them often, and such as are no row's. The samples from `valid` on have those
  /// alone.
  Tensor make_indices(DType dtype, const Shape& shape, std::int64_t valid) {
    const Tensor indices = make(dtype, shape);
    for (std::int64_t i = 0; i < indices.elements(); ++i) {
      const std::uint32_t word = philox({static_cast<std::uint32_t>(i), 0, 0, 0}, {7, 0})[0];
      const std::int64_t wrong[] = {-1, kRows, std::int64_t{1} << 30U, std::numeric_limits<std::int32_t>::min()};
      std::int64_t index = word % 3 == 0 ? 0 : static_cast<std::int64_t>(word / 3 % (kRows - 1));
      if (i % 13 == 5 || i >= valid * shape.elements_per_sample()) index = wrong[word % 4];
      if (dtype == DType::int32) {
        indices.view().data<std::int32_t>()[i] = static_cast<std::int32_t>(index);
      } else {
        indices.view().data<std::int64_t>()[i] = index;
      }
    }
    return indices;
  }

  /// Calls `check(dtype, indices, valid_samples, columns, what)`: one place, few, and more than a block of threads takes.
  template <class Check>
  void for_cases(const Check& check) {
    for (const DType dtype : kFloatingTypes) {
      for (const DType index : {DType::int32, DType::int64}) {
        for (const Shape& shape : {Shape{0, 4}, Shape{1}, Shape{5, 3}, Shape{9, 70}}) {
          for (const std::int64_t columns : {1, 8, 24, 77}) {
            for (const bool short_batch : {false, true}) {
              const std::int64_t valid = short_batch ? shape[0] / 2 : shape[0];
              const Tensor count = make_int32(static_cast<std::int32_t>(valid));
              const ConstTensorView given = short_batch ? ConstTensorView(count) : ConstTensorView();
              check(dtype, make_indices(index, shape, valid), given, columns,
                    std::string(name(dtype)) + " by " + std::string(name(index)) + " " + shape.to_string() + " of " +
                        std::to_string(columns) + (short_batch ? ", a short batch" : ""));
              if (HasFatalFailure()) return;
            }
          }
        }
      }
    }
  }

  static Shape with_columns(const Shape& shape, std::int64_t columns) {
    return shape.rank() == 1 ? Shape{shape[0], columns} : Shape{shape[0], shape[1], columns};
  }
};

TEST_P(KernelEmbedding, CopiesRows) {
  for_cases([&](DType dtype, const Tensor& indices, const ConstTensorView& valid, std::int64_t columns, const std::string& what) {
    const Tensor w = make_filled(dtype, {kRows, columns}, 1);
    const Shape shape = with_columns(indices.shape(), columns);
    const Tensor y = make(dtype, shape), wanted = make(dtype, shape);
    run_fast(EmbeddingForward{.w = w, .indices = indices, .valid_samples = valid, .y = y});
    run_oracle(EmbeddingForward{.w = w, .indices = indices, .valid_samples = valid, .y = wanted});
    kernel_case::expect_same(y, wanted, what);
  });
}

TEST_P(KernelEmbedding, GradientHasTheSumsOfTheOracle) {
  for_cases([&](DType dtype, const Tensor& indices, const ConstTensorView& valid, std::int64_t columns, const std::string& what) {
    const Tensor dy = make_filled(dtype, with_columns(indices.shape(), columns), 2);
    for (const bool accumulate : {false, true}) {
      const Tensor dw = make_filled(dtype, {kRows, columns}, 3), wanted = make_filled(dtype, {kRows, columns}, 3);
      const auto args = [&](const Tensor& to) {
        return EmbeddingBackward{
            .dy = dy, .indices = indices, .valid_samples = valid, .dw = to, .accumulate = accumulate, .workspace = {}};
      };
      run_fast(args(dw));
      run_oracle(args(wanted));
      kernel_case::expect_same(dw, wanted, what + (accumulate ? ", accumulating" : ""));
    }
  });
}

TEST_P(KernelEmbedding, AnIndexThatIsNoRowsGivesNaN) {
  for (const DType dtype : kFloatingTypes) {
    const Tensor w = make_filled(dtype, {3, 8}, 1), indices = make(DType::int32, {4}), y = make_filled(dtype, {4, 8}, 2);
    const std::int32_t values[] = {2, 3, -1, 0};
    std::copy(std::begin(values), std::end(values), indices.view().data<std::int32_t>());
    run_fast(EmbeddingForward{.w = w, .indices = indices, .y = y});
    for (std::int64_t i = 0; i < 32; ++i) {
      const std::int64_t row = values[i / 8];
      if (row >= 0 && row < 3) {
        EXPECT_EQ(value_at(y, i), value_at(w, row * 8 + i % 8));
      } else {
        EXPECT_TRUE(std::isnan(value_at(y, i)));
      }
    }
  }
}

}  // namespace minim::embedding_suite
