#include "minim/optimizer/update_rule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "minim/runtime/error.h"
#include "minim/runtime/simd.h"
#include "optimizer/rule_oracle.h"
#include "optimizer/update_slice.h"

namespace minim {
namespace {

using testing::Bounded;
using testing::rule_step;
using testing::SliceCase;
using testing::Slot;
using testing::two_segments;
using testing::updated;
using testing::UpdateSlice;

/// The oracle's formulas are the kernels' up to the order of some products, which have no more than twice the roundings.
constexpr double kOtherOrder = 2;
/// Errors of five steps are some dozen roundings.
constexpr double kSharpness = 1e-5;

/// Five updates of a slice, of which the first is number `applied` + 1, held against the oracle's.
void expect_the_rule(const SliceCase& what, std::int64_t applied) {
  constexpr std::int64_t kElements = 1000;
  const auto segments = two_segments(kElements);
  const UpdateSlice slice(what, kElements, segments);
  slice.fill(1);
  slice.state().applied = applied;
  const bool rounds = !what.master && what.weight_dtype != DType::fp32;
  const Tensor& weights = what.master ? slice.master : slice.weight;
  const auto slot_of = [&](std::int64_t i) {
    return Slot{.w = Bounded::exact(UpdateSlice::get(weights, i)),
                .m1 = Bounded::exact(UpdateSlice::get(slice.moment1, i)),
                .m2 = Bounded::exact(UpdateSlice::get(slice.moment2, i))};
  };
  std::vector<Slot> wanted;
  for (std::int64_t i = 0; i < kElements; ++i) wanted.push_back(slot_of(i));
  for (int step = 0; step < 5; ++step) {
    slice.state().applied += 1;
    slice.apply();
    for (const UpdateSegment& segment : segments) {
      for (std::int64_t i = segment.begin; i < segment.end; ++i) {
        Slot& slot = wanted[static_cast<std::size_t>(i)];
        slot = updated(what.rule,
                       rule_step(slice.state(), segment, UpdateSlice::get(slice.gradient, i), UpdateSlice::kWireExponent,
                                 UpdateSlice::ratio(segment.parameter)),
                       slot);
        const Slot found = slot_of(i);
        if (rounds) slot.w = found.w;
        for (const auto& [is, should] : {std::pair{found.w, slot.w}, {found.m1, slot.m1}, {found.m2, slot.m2}}) {
          ASSERT_NEAR(is.value, should.value, kOtherOrder * should.error) << name(what.rule) << ", " << i << ", step " << step;
          ASSERT_LE(should.error, kSharpness * std::max(1.0, std::abs(should.value))) << "the bound says nothing";
        }
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
                   .ratios = {},
                   .overflow = other};
  EXPECT_THROW(backend->prepare(args), InvalidArgument);
  args.rule = SgdRule{.momentum = 0};
  EXPECT_NO_THROW(backend->prepare(args));
  args.rule = LarsRule{};  // has neither moments of this size nor trust ratios
  EXPECT_THROW(backend->prepare(args), InvalidArgument);
  args.rule = SgdRule{.momentum = 0};
  args.segments[0].end = 65;
  EXPECT_THROW(backend->prepare(args), InvalidArgument);
}

TEST(ApplyUpdate, TakesDecoupledDecayOffTheWeightAlone) {
  // Without gradients AdamW shrinks weights by lr * decay, and its moments stay 0; Adam would move by lr whatever the decay is.
  const UpdateSlice slice({AdamRule{.decoupled_decay = true}, DType::fp16, DType::fp16, true}, 64,
                          {{.begin = 0, .end = 64, .parameter = 0, .weight_decay = 0.5F}});
  for (std::int64_t i = 0; i < 64; ++i) {
    UpdateSlice::set(slice.master, i, 8);
    for (const Tensor* tensor : {&slice.gradient, &slice.moment1, &slice.moment2}) UpdateSlice::set(*tensor, i, 0);
  }
  slice.state().learning_rate = 0x1p-3F;
  slice.apply();
  EXPECT_EQ(UpdateSlice::get(slice.master, 7), 8 - 8 * 0x1p-4F);
  EXPECT_EQ(UpdateSlice::get(slice.moment1, 7), 0);
}

TEST(UpdateRule, IsKnownByName) {
  EXPECT_EQ(name(SgdRule{}), "sgd");
  EXPECT_EQ(name(SgdRule{.nesterov = true}), "nesterov");
  EXPECT_EQ(name(AdamRule{}), "adam");
  EXPECT_EQ(name(AdamRule{.decoupled_decay = true}), "adamw");
  EXPECT_EQ(name(AdagradRule{}), "adagrad");
  EXPECT_EQ(name(RmsPropRule{}), "rmsprop");
  EXPECT_EQ(name(LarsRule{}), "lars");
  EXPECT_EQ(name(LambRule{}), "lamb");
}

TEST(UpdateRule, RefusesConstantsThatHaveNoMeaning) {
  EXPECT_THROW(validate(SgdRule{.momentum = 1}), InvalidArgument);
  EXPECT_THROW(validate(AdamRule{.beta1 = -0.1}), InvalidArgument);
  EXPECT_THROW(validate(AdamRule{.beta2 = 1}), InvalidArgument);
  EXPECT_THROW(validate(AdamRule{.epsilon = 0}), InvalidArgument);
  EXPECT_THROW(validate(AdamRule{.epsilon = 1e-60}), InvalidArgument);  // zero in FP32
  EXPECT_NO_THROW(validate(AdamRule{}));
  EXPECT_THROW(validate(SgdRule{.momentum = 0, .nesterov = true}), InvalidArgument);
  EXPECT_THROW(validate(AdagradRule{.initial = -1}), InvalidArgument);
  EXPECT_THROW(validate(AdagradRule{.epsilon = 0}), InvalidArgument);
  EXPECT_THROW(validate(RmsPropRule{.alpha = 1}), InvalidArgument);
  EXPECT_THROW(validate(RmsPropRule{.epsilon = 1e39}), InvalidArgument);  // infinite in FP32
  EXPECT_THROW(validate(RmsPropRule{.momentum = -1}), InvalidArgument);
  EXPECT_NO_THROW(validate(AdagradRule{}));
  EXPECT_NO_THROW(validate(RmsPropRule{}));
  EXPECT_THROW(validate(LarsRule{.momentum = 1}), InvalidArgument);
  EXPECT_THROW(validate(LarsRule{.trust = 0}), InvalidArgument);
  EXPECT_THROW(validate(LambRule{.beta2 = 1}), InvalidArgument);
  EXPECT_THROW(validate(LambRule{.epsilon = 0}), InvalidArgument);
}

}  // namespace
}  // namespace minim
