#include "minim/optimizer/update_rule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "minim/runtime/error.h"
#include "minim/runtime/simd.h"
#include "optimizer/update_slice.h"

namespace minim {
namespace {

using testing::SliceCase;
using testing::two_segments;
using testing::UpdateSlice;

constexpr double kUnit = 0x1p-24;  // largest relative error of rounding to FP32

/// An element of a slice before or after an update, in FP64, with how far FP32 arithmetic may be away from it.
struct Element {
  double w = 0, m1 = 0, m2 = 0;
  double w_bound = 0, m1_bound = 0, m2_bound = 0;
};

/// One step of a rule from FP32 values, in FP64. Bounds count roundings of kUnit: one for each constant and each operation that a
/// term goes through; they are doubled at the end to cover the products of errors.
Element oracle(const UpdateRule& rule, const StepState& state, const UpdateSegment& segment, double scaled, Element x) {
  const double unscale = static_cast<double>(state.unscale[segment.group]) * 4;  // 2^p, p = 2
  const double decay = static_cast<double>(segment.weight_decay);
  double rate = static_cast<double>(state.learning_rate) * static_cast<double>(segment.learning_rate_factor);
  const double g = scaled * unscale + decay * x.w;
  const double g_bound = 2 * kUnit * (std::abs(scaled * unscale) + std::abs(decay * x.w));
  double step = g, step_bound = g_bound;
  if (const auto* sgd = std::get_if<SgdRule>(&rule); sgd != nullptr && sgd->momentum != 0) {
    const double carried = sgd->momentum * x.m1;
    x.m1 = carried + g;
    x.m1_bound = 3 * kUnit * std::abs(carried) + g_bound + kUnit * std::abs(g);
    step = x.m1;
    step_bound = x.m1_bound;
  } else if (const auto* adam = std::get_if<AdamRule>(&rule)) {
    const double t = static_cast<double>(state.applied);
    const double rest1 = (1 - adam->beta1) * g, rest2 = (1 - adam->beta2) * g * g;
    const double carried1 = adam->beta1 * x.m1, carried2 = adam->beta2 * x.m2;
    x.m1 = carried1 + rest1;
    x.m1_bound = 3 * kUnit * (std::abs(carried1) + std::abs(rest1)) + (1 - adam->beta1) * g_bound;
    x.m2 = carried2 + rest2;
    x.m2_bound = 4 * kUnit * (carried2 + rest2) + (1 - adam->beta2) * 2 * std::abs(g) * g_bound;
    const double deviation = std::sqrt(x.m2 / (1 - std::pow(adam->beta2, t)));
    const double denominator = deviation + adam->epsilon;
    // Half of the relative error of m2; root, its constant, product, epsilon, sum.
    const double relative = (x.m2 > 0 ? x.m2_bound / x.m2 / 2 : 0) + 5 * kUnit;
    step = x.m1 / denominator;
    step_bound = x.m1_bound / denominator + std::abs(step) * (relative + kUnit);
    rate /= 1 - std::pow(adam->beta1, t);
  }
  x.w -= rate * step;
  x.w_bound = rate * (step_bound + 2 * kUnit * std::abs(step)) + kUnit * std::abs(x.w);
  x.w_bound *= 2;
  x.m1_bound *= 2;
  x.m2_bound *= 2;
  return x;
}

/// Three updates of a slice, of which the first is number `applied` + 1, each held against the oracle.
void expect_the_rule(const SliceCase& what, std::int64_t applied) {
  constexpr std::int64_t kElements = 1000;
  const auto segments = two_segments(kElements);
  const UpdateSlice slice(what, kElements, segments);
  slice.fill(1);
  slice.state().applied = applied;
  for (int step = 0; step < 3; ++step) {
    slice.state().applied += 1;
    std::vector<Element> before(kElements);
    for (std::int64_t i = 0; i < kElements; ++i) {
      before[static_cast<std::size_t>(i)] = {.w = UpdateSlice::get(what.master ? slice.master : slice.weight, i),
                                             .m1 = UpdateSlice::get(slice.moment1, i),
                                             .m2 = UpdateSlice::get(slice.moment2, i)};
    }
    slice.apply();
    for (const UpdateSegment& segment : segments) {
      for (std::int64_t i = segment.begin; i < segment.end; ++i) {
        const Element wanted =
            oracle(what.rule, slice.state(), segment, UpdateSlice::get(slice.gradient, i), before[static_cast<std::size_t>(i)]);
        if (what.master || what.weight_dtype == DType::fp32) {
          ASSERT_NEAR(UpdateSlice::get(what.master ? slice.master : slice.weight, i), wanted.w, wanted.w_bound) << i;
        }
        ASSERT_NEAR(UpdateSlice::get(slice.moment1, i), wanted.m1, wanted.m1_bound) << i;
        ASSERT_NEAR(UpdateSlice::get(slice.moment2, i), wanted.m2, wanted.m2_bound) << i;
      }
    }
  }
}

TEST(ApplyUpdate, AgreesWithTheRulesInFp64) {
  for (const SliceCase& what : testing::kSliceCases) {
    for (const std::int64_t applied : {0, 3, 997, 1234567}) expect_the_rule(what, applied);
  }
}

TEST(ApplyUpdate, RoundsMasterWeightsToTheNearestStoredWeight) {
  for (const DType dtype : {DType::fp16, DType::bf16}) {
    const UpdateSlice slice({AdamRule{}, dtype, dtype, true}, 300, two_segments(300));
    slice.fill(2);
    slice.apply();
    for (std::int64_t i = 64; i < 300; ++i) {
      const float w = UpdateSlice::get(slice.master, i);
      ASSERT_EQ(UpdateSlice::get(slice.weight, i), dtype == DType::fp16 ? to_float(to_half(w)) : to_float(to_bfloat16(w)));
    }
  }
}

TEST(ApplyUpdate, LosesSmallUpdatesOnlyWithoutMasterWeights) {
  // Below a quarter of the spacing of FP16 at 1 every step; added up in FP32 they arrive.
  constexpr int kSteps = 64;
  for (const bool master : {true, false}) {
    const UpdateSlice slice({SgdRule{.momentum = 0}, DType::fp16, DType::fp16, master}, 64,
                            {{.begin = 0, .end = 64, .parameter = 0}});
    for (std::int64_t i = 0; i < 64; ++i) {
      UpdateSlice::set(slice.weight, i, 1);
      UpdateSlice::set(slice.master, i, 1);
      UpdateSlice::set(slice.gradient, i, 1);
    }
    slice.state().unscale[0] = 0.25F;  // times 2^p: 1
    slice.state().learning_rate = 0x1p-13F;
    for (int step = 0; step < kSteps; ++step) slice.apply();
    EXPECT_EQ(UpdateSlice::get(slice.weight, 7), master ? 1 - kSteps * 0x1p-13F : 1);
  }
}

TEST(ApplyUpdate, IsBitForBitTheSameOnEveryInstructionSetAndInTheReference) {
  const auto sets = simd::available_instruction_sets();
  for (const SliceCase& what : testing::kSliceCases) {
    for (const std::int64_t elements : {0, 1, 15, 16, 63, 64, 65, 127, 128, 1000}) {
      const auto segments = two_segments(elements);
      const UpdateSlice reference(what, elements, segments, "reference");
      reference.fill(3);
      reference.apply();
      reference.apply();
      for (const auto set : sets) {
        simd::limit_instruction_set(set);
        const UpdateSlice slice(what, elements, segments);
        slice.fill(3);
        slice.apply();
        slice.apply();
        ASSERT_EQ(slice.bytes(), reference.bytes()) << simd::name(set) << ", " << elements;
      }
    }
  }
  simd::limit_instruction_set(sets.back());
}

TEST(ApplyUpdate, IsTheSameWhenWeightsAreStreamedPastTheCaches) {
  constexpr std::int64_t kElements = (4 << 20) + 64;
  const auto segments = two_segments(kElements - 5);
  const UpdateSlice slice({}, kElements, segments);
  slice.fill(4);
  const UpdateSlice reference({}, kElements, segments, "reference");
  reference.fill(4);
  slice.apply();
  reference.apply();
  EXPECT_TRUE(slice.bytes() == reference.bytes());
}

TEST(ApplyUpdate, LeavesPaddingAlone) {
  const auto segments = two_segments(120);
  const UpdateSlice slice({}, 128, segments);
  slice.fill(5);
  for (const Tensor* tensor : {&slice.weight, &slice.master, &slice.moment1, &slice.moment2}) {
    for (std::int64_t i = 37; i < 64; ++i) UpdateSlice::set(*tensor, i, 0);
    for (std::int64_t i = 120; i < 128; ++i) UpdateSlice::set(*tensor, i, 0);
  }
  UpdateSlice::set(slice.gradient, 121, std::numeric_limits<float>::quiet_NaN());
  slice.check();
  slice.apply();
  EXPECT_EQ(slice.record().non_finite, 0);
  for (const Tensor* tensor : {&slice.weight, &slice.master, &slice.moment1, &slice.moment2}) {
    for (std::int64_t i = 37; i < 64; ++i) ASSERT_EQ(UpdateSlice::get(*tensor, i), 0) << i;
    for (std::int64_t i = 120; i < 128; ++i) ASSERT_EQ(UpdateSlice::get(*tensor, i), 0) << i;
  }
}

TEST(ApplyUpdate, ChangesNothingInAStepThatIsNotApplied) {
  const UpdateSlice slice({}, 200, two_segments(200));
  slice.fill(6);
  slice.state().last_applied = 0;
  const auto before = slice.bytes();
  slice.apply();
  EXPECT_EQ(slice.bytes(), before);
}

TEST(ApplyUpdate, NamesTheFirstParameterThatItsTypeCannotHold) {
  for (const DType dtype : {DType::fp16, DType::bf16, DType::fp32}) {
    const bool master = dtype != DType::fp32;
    const UpdateSlice slice({SgdRule{.momentum = 0}, dtype, dtype, master}, 256,
                            {{.begin = 0, .end = 60, .parameter = 9},
                             {.begin = 64, .end = 250, .parameter = 5},
                             {.begin = 250, .end = 256, .parameter = 7}});
    const Tensor& weights = master ? slice.master : slice.weight;
    slice.fill(7);
    const float largest = dtype == DType::fp16   ? 65519.996F
                          : dtype == DType::bf16 ? 0x1.FEFFFEp127F
                                                 : std::numeric_limits<float>::max();
    const auto put = [&](std::int64_t i, float w) {
      UpdateSlice::set(slice.gradient, i, 0);
      UpdateSlice::set(weights, i, w);
    };
    put(3, largest);
    put(200, -largest);
    slice.apply();
    EXPECT_EQ(slice.overflow(), kNoOverflow) << name(dtype);
    EXPECT_TRUE(std::isfinite(UpdateSlice::get(slice.weight, 3)));
    const float beyond = dtype == DType::fp32 ? std::numeric_limits<float>::infinity()
                                              : std::nextafter(largest, std::numeric_limits<float>::infinity());
    put(255, beyond);
    slice.apply();
    EXPECT_EQ(slice.overflow(), 7) << name(dtype);
    EXPECT_FALSE(std::isfinite(UpdateSlice::get(slice.weight, 255)));  // no saturation hides it
    put(251, std::nanf(""));
    put(65, -beyond);
    slice.apply();
    EXPECT_EQ(slice.overflow(), 5) << name(dtype);
  }
}

TEST(ApplyUpdate, RefusesArraysThatDoNotFit) {
  const auto backend = make_cpu_backend(1);
  add_update_kernels(*backend);
  const Tensor weight = backend->allocate_tensor(DType::fp16, Shape{64}, MemoryKind::weights);
  const Tensor other = backend->allocate_tensor(DType::fp32, Shape{32}, MemoryKind::moments);
  ApplyUpdate args{.rule = SgdRule{},
                   .segments = {{.begin = 0, .end = 64, .parameter = 0}},
                   .gradient = weight,
                   .master = {},
                   .moment1 = other,
                   .moment2 = {},
                   .weight = weight,
                   .state = {},
                   .overflow = other};
  EXPECT_THROW(backend->prepare(args), InvalidArgument);
  args.rule = SgdRule{.momentum = 0};
  EXPECT_NO_THROW(backend->prepare(args));
  args.segments[0].end = 65;
  EXPECT_THROW(backend->prepare(args), InvalidArgument);
}

TEST(UpdateRule, RefusesConstantsThatHaveNoMeaning) {
  EXPECT_THROW(validate(SgdRule{.momentum = 1}), InvalidArgument);
  EXPECT_THROW(validate(AdamRule{.beta1 = -0.1}), InvalidArgument);
  EXPECT_THROW(validate(AdamRule{.beta2 = 1}), InvalidArgument);
  EXPECT_THROW(validate(AdamRule{.epsilon = 0}), InvalidArgument);
  EXPECT_THROW(validate(AdamRule{.epsilon = 1e-60}), InvalidArgument);  // zero in FP32
  EXPECT_NO_THROW(validate(AdamRule{}));
}

}  // namespace
}  // namespace minim
