#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "minim/runtime/simd.h"
#include "optimizer/update_slice.h"

namespace minim {
namespace {

using testing::SliceCase;
using testing::two_segments;
using testing::UpdateSlice;

TEST(CheckGradients, SumsSquaresOfUnscaledGradientsByGroup) {
  const UpdateSlice slice({}, 10000, two_segments(10000));
  slice.fill(8);
  slice.state().loss_scale = 1024;
  slice.check();
  double wanted[2] = {};
  for (const UpdateSegment& segment : two_segments(10000)) {
    for (std::int64_t i = segment.begin; i < segment.end; ++i) {
      const double g = static_cast<double>(UpdateSlice::get(slice.gradient, i)) * 4 / 1024;
      wanted[segment.group] += g * g;
    }
  }
  // Both sums have at most 10000 positive terms and round each of them by at most 2^-53.
  constexpr double kRelative = 2 * 10000 * 0x1p-53;
  EXPECT_NEAR(slice.record().sum_squares[0], wanted[0], wanted[0] * kRelative);
  EXPECT_NEAR(slice.record().sum_squares[1], wanted[1], wanted[1] * kRelative);
  EXPECT_EQ(slice.record().non_finite, 0);
  EXPECT_EQ(slice.record().first_bad_parameter, -1);
  slice.check();  // adds to the record
  EXPECT_NEAR(slice.record().sum_squares[0], 2 * wanted[0], 2 * wanted[0] * kRelative);
}

TEST(CheckGradients, AddsInOneTreeOnEveryInstructionSetAndForAnyNumberOfThreads) {
  const auto sets = simd::available_instruction_sets();
  for (const DType dtype : {DType::fp16, DType::bf16, DType::fp32}) {
    const UpdateSlice reference({AdamRule{}, dtype, dtype, dtype != DType::fp32}, 70001, two_segments(70001), "reference");
    reference.fill(9);
    reference.check();
    for (const auto set : sets) {
      simd::limit_instruction_set(set);
      for (const int threads : {1, 2, 3}) {
        const auto backend = make_cpu_backend(threads);
        add_update_kernels(*backend);
        AgreementRecord record;
        StepState state;
        const auto stream = backend->make_stream("test");
        backend->run(*stream, CheckGradients{.segments = two_segments(70001),
                                             .gradient = reference.gradient,
                                             .wire_exponent = 2,
                                             .state = {&state, DType::uint8, Shape{sizeof state}},
                                             .record = {&record, DType::uint8, Shape{sizeof record}}});
        for (int group = 0; group < 2; ++group) {
          ASSERT_EQ(record.sum_squares[group], reference.record().sum_squares[group]) << simd::name(set) << ", " << threads;
        }
      }
    }
  }
  simd::limit_instruction_set(sets.back());
}

TEST(CheckGradients, CountsNonFiniteValuesAndNamesTheFirstParameter) {
  for (const DType dtype : {DType::fp16, DType::bf16, DType::fp32}) {
    const UpdateSlice slice({SgdRule{}, dtype, dtype, dtype != DType::fp32}, 20001, two_segments(20001));
    slice.fill(10);
    UpdateSlice::set(slice.gradient, 20000, std::numeric_limits<float>::infinity());
    UpdateSlice::set(slice.gradient, 9000, -std::numeric_limits<float>::infinity());
    UpdateSlice::set(slice.gradient, 9001, std::nanf(""));
    slice.check();
    EXPECT_EQ(slice.record().non_finite, 3);
    EXPECT_EQ(slice.record().first_bad_parameter, 4);
    UpdateSlice::set(slice.gradient, 36, std::nanf(""));
    slice.check();
    EXPECT_EQ(slice.record().non_finite, 3 + 4);
    EXPECT_EQ(slice.record().first_bad_parameter, 3);
  }
}

TEST(CheckGradients, HoldsSumsOfTheLargestFp32Gradients) {
  const UpdateSlice slice({SgdRule{}, DType::fp32, DType::fp32, false}, 64, {{.begin = 0, .end = 64, .parameter = 0}});
  for (std::int64_t i = 0; i < 64; ++i) UpdateSlice::set(slice.gradient, i, std::numeric_limits<float>::max());
  slice.check();
  EXPECT_EQ(slice.record().non_finite, 0);
  EXPECT_TRUE(std::isfinite(slice.record().sum_squares[0]));
}

}  // namespace
}  // namespace minim
