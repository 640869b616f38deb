#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "minim/runtime/cuda.h"
#include "optimizer/update_slice.h"

namespace minim {
namespace {

using testing::SliceCase;
using testing::two_segments;
using testing::UpdateSlice;

const std::shared_ptr<Backend>& cuda() {
  static const std::shared_ptr<Backend> backend = make_cuda_backend({});
  return backend;
}

/// Segments that start and end anywhere, of several groups.
std::vector<UpdateSegment> odd_segments(std::int64_t elements) {
  std::vector<UpdateSegment> segments;
  for (std::int64_t begin = 0, parameter = 0; begin < elements; ++parameter) {
    const std::int64_t end = std::min(begin + 1 + parameter * 977 % 5003, elements);
    segments.push_back({.begin = begin,
                        .end = end,
                        .parameter = static_cast<int>(parameter),
                        .group = static_cast<int>(parameter % 3),
                        .learning_rate_factor = parameter % 2 == 0 ? 1.0F : 0.25F,
                        .weight_decay = parameter % 3 == 0 ? 0.01F : 0.0F});
    begin = end + parameter % 2 * 7;
  }
  return segments;
}

TEST(CudaApplyUpdate, HasTheBitsOfTheReference) {
  for (const SliceCase& what : testing::kSliceCases) {
    for (const std::int64_t elements : {0, 1, 15, 63, 64, 65, 1000, 20011}) {
      for (const auto& segments : {two_segments(elements), odd_segments(elements)}) {
        const UpdateSlice reference(what, elements, segments, "reference");
        const UpdateSlice slice(what, elements, segments, cuda());
        for (const UpdateSlice* each : {&reference, &slice}) {
          each->fill(3);
          each->apply();
          each->state().applied = 1234;
          each->apply();
        }
        ASSERT_TRUE(slice.bytes() == reference.bytes()) << elements << " elements, " << segments.size() << " segments";
        ASSERT_EQ(slice.overflow(), reference.overflow());
      }
    }
  }
}

TEST(CudaApplyUpdate, ChangesNothingInAStepThatIsNotApplied) {
  const UpdateSlice slice({}, 200, two_segments(200), cuda());
  slice.fill(6);
  slice.state().last_applied = 0;
  const auto before = slice.bytes();
  slice.apply();
  EXPECT_EQ(slice.bytes(), before);
}

TEST(CudaApplyUpdate, NamesTheFirstParameterThatItsTypeCannotHold) {
  const UpdateSlice slice({SgdRule{.momentum = 0}, DType::fp16, DType::fp16, true}, 20011, odd_segments(20011), cuda());
  slice.fill(7);
  slice.apply();
  ASSERT_EQ(slice.overflow(), kNoOverflow);
  const auto segments = odd_segments(20011);
  for (const std::size_t parameter : {8, 5, 6}) {
    UpdateSlice::set(slice.gradient, segments[parameter].begin, 0);
    UpdateSlice::set(slice.master, segments[parameter].begin, 65520);
  }
  slice.apply();
  EXPECT_EQ(slice.overflow(), 5);
}

TEST(CudaApplyUpdate, FindsAWeightThatItsTypeCannotHoldWhereverItLies) {
  for (const std::int64_t element : {0, 1000, 1007, 20010}) {
    const UpdateSlice slice({SgdRule{.momentum = 0}, DType::fp16, DType::fp16, true}, 20011,
                            {{.begin = 0, .end = 20011, .parameter = 3}}, cuda());
    slice.fill(7);
    UpdateSlice::set(slice.gradient, element, 0);
    UpdateSlice::set(slice.master, element, 65520);
    slice.apply();
    EXPECT_EQ(slice.overflow(), 3) << "element " << element;
  }
}

TEST(CudaApplyUpdate, RefusesArraysThatDoNotFit) {
  add_update_kernels(*cuda());
  const Tensor weight = cuda()->allocate_tensor(DType::fp16, Shape{64}, MemoryKind::weights);
  EXPECT_THROW(cuda()->prepare(ApplyUpdate{.rule = AdamRule{},
                                           .segments = {{.begin = 0, .end = 64, .parameter = 0}},
                                           .gradient = weight,
                                           .master = {},
                                           .moment1 = {},
                                           .moment2 = {},
                                           .weight = weight,
                                           .state = {},
                                           .ratios = {},
                                           .overflow = weight}),
               InvalidArgument);
}

const SliceCase kTrustCases[] = {{LarsRule{}, DType::fp16, DType::fp16, true},
                                 {LarsRule{}, DType::fp32, DType::fp32, false},
                                 {LambRule{}, DType::fp16, DType::fp16, true},
                                 {LambRule{}, DType::bf16, DType::fp32, true},
                                 {LambRule{}, DType::fp16, DType::fp16, false}};

TEST(CudaMeasureUpdate, HasTheBitsOfTheReference) {
  for (const SliceCase& what : kTrustCases) {
    for (const std::int64_t elements : {0, 1, 100, 4096, 4097, 70001}) {
      for (const auto& segments : {two_segments(elements), odd_segments(elements)}) {
        const UpdateSlice reference(what, elements, segments, "reference");
        const UpdateSlice slice(what, elements, segments, cuda());
        for (const UpdateSlice* each : {&reference, &slice}) {
          each->fill(9);
          each->measure();
        }
        ASSERT_EQ(std::memcmp(slice.squares().data(), reference.squares().data(), reference.squares().size_bytes()), 0)
            << name(what.rule) << ", " << elements << " elements, " << segments.size() << " segments";
      }
    }
  }
}

TEST(CudaMeasureUpdate, ChangesNothingInAStepThatIsNotApplied) {
  const UpdateSlice slice({LambRule{}, DType::fp16, DType::fp16, true}, 5000, two_segments(5000), cuda());
  slice.fill(9);
  slice.state().last_applied = 0;
  slice.measure();
  for (const ParameterSquares& squares : slice.squares()) EXPECT_EQ(squares.weight + squares.update, 0);
}

TEST(CudaFoldSquares, HasTheBitsOfTheReference) {
  constexpr std::int64_t kParameters = 300;  // of more than one block of threads
  std::vector<ParameterSquares> squares(3 * kParameters);
  for (std::size_t i = 0; i < squares.size(); ++i) {
    squares[i] = {.weight = i % 7 == 0 ? 0 : 0.1 * static_cast<double>(i), .update = i % 11 == 0 ? 0 : std::exp2(i % 60) / 3};
  }
  std::vector<TrustParameter> parameters;
  for (int p = 0; p < kParameters; ++p) parameters.push_back({.adapts = p % 5 != 0, .weight_decay = 0.01F * (p % 3)});
  const auto reference = make_reference_backend();
  for (const UpdateRule& rule : {UpdateRule(LarsRule{}), UpdateRule(LambRule{})}) {
    std::vector<float> ratios[2];
    for (Backend* backend : {reference.get(), cuda().get()}) {
      add_trust_kernels(*backend);
      std::vector<float>& own = ratios[backend == cuda().get() ? 1 : 0];
      own.resize(kParameters);
      run_mirrored(*backend, *backend->make_stream("test"),
                   FoldSquares{.rule = rule,
                               .parameters = parameters,
                               .squares = {squares.data(), DType::uint8, Shape{std::ssize(squares) * 16}},
                               .ratios = {own.data(), DType::fp32, Shape{kParameters}}});
    }
    EXPECT_EQ(ratios[1], ratios[0]) << name(rule);
  }
}

TEST(CudaCheckGradients, HasTheBitsOfTheReference) {
  for (const DType dtype : {DType::fp32, DType::fp16, DType::bf16}) {
    for (const std::int64_t elements : {0, 1, 100, 4096, 4097, 70001}) {
      const SliceCase what{AdamRule{}, dtype, dtype, dtype != DType::fp32};
      for (const auto& segments : {two_segments(elements), odd_segments(elements)}) {
        const UpdateSlice reference(what, elements, segments, "reference");
        const UpdateSlice slice(what, elements, segments, cuda());
        for (const UpdateSlice* each : {&reference, &slice}) {
          each->fill(9);
          each->check();
          each->check();  // adds to the record
        }
        ASSERT_EQ(std::memcmp(&slice.record(), &reference.record(), sizeof(AgreementRecord)), 0) << elements;
      }
    }
  }
}

TEST(CudaCheckGradients, CountsNonFiniteValuesAsTheReferenceDoes) {
  const auto segments = odd_segments(70001);
  for (const DType dtype : {DType::fp32, DType::fp16, DType::bf16}) {
    const SliceCase what{AdamRule{}, dtype, dtype, dtype != DType::fp32};
    const UpdateSlice reference(what, 70001, segments, "reference");
    const UpdateSlice slice(what, 70001, segments, cuda());
    for (const UpdateSlice* each : {&reference, &slice}) {
      each->fill(10);
      for (const std::int64_t i : {20000, 20001, 20016, 65000}) {
        UpdateSlice::set(each->gradient, i, std::numeric_limits<float>::infinity());
      }
      UpdateSlice::set(each->gradient, 5000, std::nanf(""));
      each->check();
    }
    EXPECT_EQ(slice.record().non_finite, 5);
    EXPECT_EQ(std::memcmp(&slice.record(), &reference.record(), sizeof(AgreementRecord)), 0) << name(dtype);
  }
}

}  // namespace
}  // namespace minim
