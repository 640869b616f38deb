#include "cuda/cudnn/exact_sums.h"

#include <gtest/gtest.h>

#include "minim/runtime/backend.h"
#include "minim/runtime/half.h"

namespace minim::cuda::cudnn {
namespace {

/// Narrow types, a stride, holes, groups, uneven padding and long sums.
std::vector<ConvolutionProblem> problems(ConvolutionPass pass) {
  std::vector<ConvolutionProblem> all;
  for (const DType storage : {DType::fp16, DType::bf16}) {
    all.push_back(
        {.pass = pass,
         .storage = storage,
         .x = {2, 9, 8, 6},
         .w = {4, 3, 3, 3},
         .y = {2, 4, 8, 4},
         .geometry = {
             .stride_h = 2, .pad_top = 1, .pad_left = 2, .pad_bottom = 0, .pad_right = 2, .dilation_w = 2, .groups = 2}});
    all.push_back({.pass = pass,
                   .storage = storage,
                   .x = {3, 40, 40, 64},
                   .w = {32, 3, 3, 64},
                   .y = {3, 40, 40, 32},
                   .geometry = {.pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1}});
    all.push_back(
        {.pass = pass, .storage = storage, .x = {64, 1, 1, 256}, .w = {64, 1, 1, 256}, .y = {64, 1, 1, 64}, .geometry = {}});
  }
  return all;
}

class ExactSumsOf : public testing::TestWithParam<ConvolutionPass> {
 protected:
  Tensor make(const Shape& shape) const { return backend_->allocate_tensor(DType::fp32, shape, MemoryKind::workspace); }
  /// Of the problem in FP32, as the reference backend finds it.
  Tensor result_of(const ConvolutionProblem& problem) const {
    const ExactSums sums(problem);
    const Tensor x = make(problem.x), w = make(problem.w), y = make(problem.y);
    const auto fill = [&](ConvolutionTensor tensor, int which) {
      const auto values = (tensor == kX ? x : tensor == kW ? w : y).view().span<float>();
      for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] = static_cast<float>(sums.operand(which, static_cast<std::int64_t>(i)));
      }
    };
    fill(sums.first(), 0);
    fill(sums.second(), 1);
    const auto stream = backend_->make_stream("test");
    const auto run = [&](auto args) {
      const Tensor workspace = backend_->allocate_tensor(DType::uint8, {backend_->workspace_bytes(args)}, MemoryKind::workspace);
      args.workspace = workspace;
      backend_->run(*stream, args);
      stream->synchronize();
    };
    switch (problem.pass) {
      case ConvolutionPass::forward:
        run(Conv2dForward{.x = x, .w = w, .bias = {}, .y = y, .geometry = problem.geometry, .workspace = {}});
        return y;
      case ConvolutionPass::backward_data:
        run(Conv2dBackwardData{.dy = y, .w = w, .dx = x, .geometry = problem.geometry, .workspace = {}});
        return x;
      default:
        run(Conv2dBackwardWeights{.x = x, .dy = y, .dw = w, .dbias = {}, .geometry = problem.geometry, .workspace = {}});
        return w;
    }
  }

 private:
  std::unique_ptr<Backend> backend_ = make_reference_backend();
};

TEST_P(ExactSumsOf, AreThoseOfTheReference) {
  for (const ConvolutionProblem& problem : problems(GetParam())) {
    const ExactSums sums(problem);
    const Tensor found = result_of(problem);
    const auto values = found.view().span<float>();
    for (std::size_t i = 0; i < values.size(); i += 1 + values.size() / 50) {
      ASSERT_EQ(values[i], static_cast<float>(sums.at(static_cast<std::int64_t>(i)))) << describe(problem) << ", element " << i;
    }
  }
}

TEST_P(ExactSumsOf, RepeatWhereTheySay) {
  for (const ConvolutionProblem& problem : problems(GetParam())) {
    const ExactSums sums(problem);
    for (const int which : {0, 1}) {
      for (const auto& [begin, end] : sums.repeating(which)) {
        for (std::int64_t i = begin; i + ExactSums::kPeriod < end; i += 997) {
          ASSERT_EQ(sums.operand(which, i), sums.operand(which, i + ExactSums::kPeriod));
        }
      }
    }
  }
}

/// How many sums of a matrix product differ when the first half of their products is rounded before the second is added.
template <class T>
int differ_in_halves(const ConvolutionProblem& product) {
  const ExactSums sums(product);
  const std::int64_t rows = product.x[0], inputs = product.x[3], outputs = product.y[3];
  const auto sum = [&](std::int64_t i, std::int64_t begin, std::int64_t end) {
    std::int64_t total = 0;
    for (std::int64_t k = begin; k < end; ++k) {
      switch (product.pass) {
        case ConvolutionPass::forward:
          total += sums.operand(0, i / outputs * inputs + k) * sums.operand(1, i % outputs * inputs + k);
          break;
        case ConvolutionPass::backward_data:
          total += sums.operand(0, i / inputs * outputs + k) * sums.operand(1, k * inputs + i % inputs);
          break;
        case ConvolutionPass::backward_weights:
          total += sums.operand(0, k * inputs + i % inputs) * sums.operand(1, k * outputs + i / inputs);
          break;
      }
    }
    return total;
  };
  const std::int64_t products = product.pass == ConvolutionPass::forward         ? inputs
                                : product.pass == ConvolutionPass::backward_data ? outputs
                                                                                 : rows;
  int different = 0;
  for (std::int64_t i = 0; i < 100; ++i) {
    const auto first = round_to<T>(static_cast<float>(sum(i, 0, products / 2)));
    const auto both = round_to<T>(to_float(first) + static_cast<float>(sum(i, products / 2, products)));
    EXPECT_EQ(sum(i, 0, products), sums.at(i));
    if (to_float(both) != to_float(round_to<T>(static_cast<float>(sums.at(i))))) ++different;
  }
  return different;
}

TEST_P(ExactSumsOf, ShowRoundingInBetween) {
  ConvolutionProblem product{.pass = GetParam(), .x = {64, 1, 1, 256}, .w = {64, 1, 1, 256}, .y = {64, 1, 1, 64}, .geometry = {}};
  EXPECT_GT(differ_in_halves<Half>(product), 5) << "of 100";
  EXPECT_GT(differ_in_halves<BFloat16>(product), 5) << "of 100";
}

constexpr ConvolutionPass kPasses[] = {ConvolutionPass::forward, ConvolutionPass::backward_data,
                                       ConvolutionPass::backward_weights};
INSTANTIATE_TEST_SUITE_P(Passes, ExactSumsOf, testing::ValuesIn(kPasses));

}  // namespace
}  // namespace minim::cuda::cudnn
