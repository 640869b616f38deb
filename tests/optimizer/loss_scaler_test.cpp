#include "minim/optimizer/loss_scaler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "minim/runtime/error.h"

namespace minim {
namespace {

constexpr double kNominalWeight = 8;

/// A job of so many ranks whose records a test edits before each step.
struct Job {
  explicit Job(int ranks, LossScaleConfig loss_scale = {}) : records(static_cast<std::size_t>(ranks)) {
    config.loss_scale = loss_scale;
    config.nominal_weight = kNominalWeight;
    state = initial_state(loss_scale);
    good();
  }
  /// Every rank has its nominal weight and nothing to complain of.
  void good() {
    for (AgreementRecord& record : records) {
      record = {};
      record.weight = kNominalWeight;
      record.step = state.attempted;
    }
  }
  void bad(std::size_t rank, int parameter = 0, int count = 1) {
    good();
    records[rank].non_finite = count;
    records[rank].first_bad_parameter = parameter;
  }
  Outcome fold() {
    fold_agreement(state, records, config, rates);
    return static_cast<Outcome>(state.outcome);
  }
  Outcome good_step() {
    good();
    return fold();
  }
  Outcome bad_step(std::size_t rank = 0) {
    bad(rank);
    return fold();
  }

  AgreementConfig config;
  StepState state;
  std::vector<AgreementRecord> records;
  std::vector<float> rates = {0.5F, 0.25F, 0.125F};
};

TEST(WireExponent, IsHalfOfTheHeadroomThatASumNeeds) {
  const int worlds[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 31, 32, 63, 64, 127, 128, 512, 513, 2048, 1 << 30};
  for (const int world : worlds) {
    // log2 of a power of two is exact in FP64, and between powers its floor is what counts.
    EXPECT_EQ(wire_exponent(world), static_cast<int>(std::floor((std::log2(world) + 1) / 2))) << world;
  }
  EXPECT_EQ(wire_exponent(1), 0);
  EXPECT_EQ(wire_exponent(2), 1);
  EXPECT_EQ(wire_exponent(8), 2);
  EXPECT_EQ(wire_exponent(512), 5);
  EXPECT_THROW(wire_exponent(0), InvalidArgument);
}

TEST(LossScaler, RefusesScalesThatAreNotPowersOfTwo) {
  EXPECT_THROW(validate(LossScaleConfig{.initial = 1000}), InvalidArgument);
  EXPECT_THROW(validate(LossScaleConfig{.mode = LossScaleMode::constant, .initial = 100}), InvalidArgument);
  EXPECT_THROW(validate(LossScaleConfig{.minimum = 0}), InvalidArgument);
  EXPECT_THROW(validate(LossScaleConfig{.maximum = std::numeric_limits<float>::infinity()}), InvalidArgument);
  EXPECT_THROW(validate(LossScaleConfig{.initial = 0.5F}), InvalidArgument);  // below the minimum
  EXPECT_THROW(validate(LossScaleConfig{.growth_interval = 0}), InvalidArgument);
  EXPECT_THROW(validate(LossScaleConfig{.max_consecutive_skips = 0}), InvalidArgument);
  EXPECT_NO_THROW(validate(LossScaleConfig{.mode = LossScaleMode::constant, .initial = 0.5F}));
  EXPECT_NO_THROW(validate(LossScaleConfig{}));
}

TEST(LossScaler, StartsAtTheInitialScaleAndAtOneWhenOff) {
  EXPECT_EQ(initial_state({}).loss_scale, 65536.0F);
  EXPECT_EQ(initial_state({.mode = LossScaleMode::constant, .initial = 128}).loss_scale, 128.0F);
  EXPECT_EQ(initial_state({.mode = LossScaleMode::off, .initial = 128}).loss_scale, 1.0F);
}

TEST(LossScaler, IsOffWhereThePrecisionNeedsNoScaling) {
  const LossScaleConfig dynamic;
  EXPECT_EQ(loss_scale_for(Precision::mixed, dynamic).mode, LossScaleMode::dynamic);
  EXPECT_EQ(loss_scale_for(Precision::fp16, dynamic).mode, LossScaleMode::dynamic);
  EXPECT_EQ(loss_scale_for(Precision::bf16, dynamic).mode, LossScaleMode::off);
  EXPECT_EQ(loss_scale_for(Precision::fp32, dynamic).mode, LossScaleMode::off);
}

TEST(LossScaler, UnscalesWithTheScaleThatScaledTheLoss) {
  Job job(2, {.growth_interval = 1});  // grows on every step
  for (int step = 0; step < 4; ++step) {
    const float scaled_by = job.state.loss_scale;
    ASSERT_EQ(job.good_step(), Outcome::applied);
    EXPECT_EQ(job.state.used_loss_scale, scaled_by);
    EXPECT_EQ(job.state.loss_scale, 2 * scaled_by);
    EXPECT_EQ(job.state.unscale[0], static_cast<float>(kNominalWeight / (2 * kNominalWeight) / static_cast<double>(scaled_by)));
  }
}

TEST(LossScaler, AveragesOverTheTrueWeightsOfAllRanks) {
  Job job(3, {.mode = LossScaleMode::constant, .initial = 1024});
  job.records[0].weight = 8;
  job.records[1].weight = 3;  // a short batch
  job.records[2].weight = 0;  // no sample at all
  ASSERT_EQ(job.fold(), Outcome::applied);
  EXPECT_EQ(job.state.unscale[0], static_cast<float>(8.0 / (1024.0 * 11.0)));
  EXPECT_EQ(job.state.weight, 11);
}

TEST(LossScaler, IsExactForPowersOfTwo) {
  Job job(4);
  job.fold();
  EXPECT_EQ(job.state.unscale[0], 0x1p-18F);  // 8 / (2^16 * 32)
}

TEST(LossScaler, AddsUpLossesAndCountsOfAllRanks) {
  Job job(3);
  for (std::size_t rank = 0; rank < 3; ++rank) {
    job.records[rank].loss = 1.5 + static_cast<double>(rank);
    job.records[rank].correct = 2;
  }
  job.fold();
  EXPECT_EQ(job.state.loss, 7.5);
  EXPECT_EQ(job.state.correct, 6);
}

TEST(LossScaler, SkipsOnAllRanksWhenOneHasANonFiniteGradient) {
  Job job(3);
  job.bad(2, /*parameter=*/5, /*count=*/7);
  EXPECT_EQ(job.fold(), Outcome::skipped);
  EXPECT_EQ(job.state.last_applied, 0);
  EXPECT_EQ(job.state.applied, 0);
  EXPECT_EQ(job.state.attempted, 1);
  EXPECT_EQ(job.state.non_finite, 7);
  EXPECT_EQ(job.state.first_bad_parameter, 5);
  EXPECT_EQ(job.state.used_loss_scale, 65536.0F);
  EXPECT_EQ(job.state.loss_scale, 32768.0F);
}

TEST(LossScaler, NamesTheFirstBadParameterOfAllRanks) {
  Job job(3);
  job.bad(0, 4);
  job.records[2].non_finite = 1;
  job.records[2].first_bad_parameter = 1;
  job.fold();
  EXPECT_EQ(job.state.first_bad_parameter, 1);
}

TEST(LossScaler, SkipsWhenTheLossOrTheWeightIsNotFinite) {
  Job job(2);
  job.records[1].loss = std::nan("");
  EXPECT_EQ(job.fold(), Outcome::skipped);
  job.good();
  job.records[0].weight = std::numeric_limits<double>::infinity();
  EXPECT_EQ(job.fold(), Outcome::skipped);
  EXPECT_EQ(job.state.applied, 0);
}

TEST(LossScaler, HalvesAfterEverySkipWithoutHysteresis) {
  Job job(1);
  job.bad_step();
  EXPECT_EQ(job.state.loss_scale, 32768.0F);
  job.good_step();
  EXPECT_EQ(job.state.loss_scale, 32768.0F);
  job.bad_step();
  EXPECT_EQ(job.state.loss_scale, 16384.0F);
  job.bad_step();
  EXPECT_EQ(job.state.loss_scale, 8192.0F);
}

TEST(LossScaler, DoublesAfterTheGrowthIntervalOfGoodStepsInARow) {
  Job job(1, {.initial = 8, .growth_interval = 3});
  job.good_step();
  job.good_step();
  job.bad_step();  // two good steps are forgotten
  EXPECT_EQ(job.state.loss_scale, 4.0F);
  EXPECT_EQ(job.state.good_steps, 0);
  for (const float scale : {4.0F, 4.0F, 8.0F, 8.0F, 8.0F, 16.0F}) {
    job.good_step();
    EXPECT_EQ(job.state.loss_scale, scale);
  }
  EXPECT_EQ(job.state.good_steps, 0);
}

TEST(LossScaler, ComparesTheGrowthCounterWithTheIntervalAndNotWithTheScale) {
  Job job(1, {.initial = 2, .growth_interval = 2000});
  for (int step = 0; step < 1999; ++step) job.good_step();
  EXPECT_EQ(job.state.loss_scale, 2.0F);
  job.good_step();
  EXPECT_EQ(job.state.loss_scale, 4.0F);
}

TEST(LossScaler, StaysWithinItsBounds) {
  Job job(1, {.initial = 2, .minimum = 1, .maximum = 4, .growth_interval = 1});
  for (const float scale : {4.0F, 4.0F, 4.0F}) {
    job.good_step();
    EXPECT_EQ(job.state.loss_scale, scale);
  }
  for (const float scale : {2.0F, 1.0F, 1.0F}) {
    job.bad_step();
    EXPECT_EQ(job.state.loss_scale, scale);
  }
}

TEST(LossScaler, NeverMovesWhenConstantOrOffAndSkipsAllTheSame) {
  for (const auto mode : {LossScaleMode::constant, LossScaleMode::off}) {
    Job job(2, {.mode = mode, .initial = 128, .growth_interval = 1});
    const float scale = job.state.loss_scale;
    EXPECT_EQ(job.good_step(), Outcome::applied);
    EXPECT_EQ(job.bad_step(), Outcome::skipped);
    EXPECT_EQ(job.good_step(), Outcome::applied);
    EXPECT_EQ(job.state.loss_scale, scale);
    EXPECT_EQ(job.state.probing, 0);
  }
}

TEST(LossScaler, CallsAnOverflowRightAfterAGrowthAProbe) {
  Job job(1, {.initial = 8, .growth_interval = 2});
  job.good_step();
  job.good_step();
  EXPECT_EQ(job.state.probing, 1);
  job.bad_step();
  EXPECT_EQ(job.state.probe_failed, 1);
  EXPECT_EQ(job.state.probing, 0);
  EXPECT_EQ(job.state.loss_scale, 8.0F);
  job.bad_step();
  EXPECT_EQ(job.state.probe_failed, 0);

  Job held(1, {.initial = 8, .growth_interval = 2});
  held.good_step();
  held.good_step();
  held.good_step();
  EXPECT_EQ(held.state.probing, 0);
  held.bad_step();
  EXPECT_EQ(held.state.probe_failed, 0);
}

TEST(LossScaler, IsExhaustedAfterSkipsInARowAtAScaleThatCannotFall) {
  for (const auto mode : {LossScaleMode::constant, LossScaleMode::off}) {
    Job job(1, {.mode = mode, .initial = 4, .max_consecutive_skips = 3});
    job.bad_step();
    job.bad_step();
    EXPECT_EQ(job.state.exhausted, 0);
    job.good_step();
    job.bad_step();
    job.bad_step();
    EXPECT_EQ(job.state.exhausted, 0);
    job.bad_step();
    EXPECT_EQ(job.state.exhausted, 1);
    EXPECT_EQ(job.state.consecutive_skips, 3);
  }
}

TEST(LossScaler, IsNotExhaustedWhileTheScaleFalls) {
  Job job(1, {.initial = 65536, .max_consecutive_skips = 3});
  for (int step = 0; step < 16; ++step) {
    job.bad_step();
    ASSERT_EQ(job.state.exhausted, 0) << "at scale " << job.state.loss_scale;
  }
  ASSERT_EQ(job.state.loss_scale, 1.0F);
  job.bad_step();
  job.bad_step();
  EXPECT_EQ(job.state.exhausted, 0);
  job.bad_step();
  EXPECT_EQ(job.state.exhausted, 1);
}

TEST(LossScaler, ReadsTheLearningRateOfAppliedStepsOnly) {
  Job job(1);
  const auto rate_of = [&](Outcome wanted) {
    EXPECT_EQ(wanted == Outcome::applied ? job.good_step() : job.bad_step(), wanted);
    return job.state.learning_rate;
  };
  EXPECT_EQ(rate_of(Outcome::applied), 0.5F);
  rate_of(Outcome::skipped);
  rate_of(Outcome::skipped);
  EXPECT_EQ(rate_of(Outcome::applied), 0.25F);  // the schedule has waited
  EXPECT_EQ(rate_of(Outcome::applied), 0.125F);
  EXPECT_EQ(rate_of(Outcome::applied), 0.125F);  // the last rate holds
  EXPECT_EQ(job.state.applied, 4);
  EXPECT_EQ(job.state.attempted, 6);
}

TEST(LossScaler, ClipsByTheUnscaledNormOverAllGroupsAndRanks) {
  Job job(2, {.mode = LossScaleMode::constant, .initial = 256});
  job.config.groups = 2;
  job.config.clip_norm = 2;
  job.records[0].sum_squares[0] = 100;
  job.records[1].sum_squares[0] = 100;
  job.records[1].sum_squares[1] = 200;  // sqrt(400) * n0 / total = 20 * 8 / 16
  ASSERT_EQ(job.fold(), Outcome::applied);
  EXPECT_EQ(job.state.gradient_norm, 10);
  for (int group = 0; group < 2; ++group) {
    EXPECT_EQ(job.state.unscale[group], static_cast<float>(0.5 / 256.0 * (2.0 / 10.0)));
  }
}

TEST(LossScaler, LeavesAGradientWithinTheClipNormAlone) {
  Job job(1);
  job.config.clip_norm = 10;
  job.records[0].sum_squares[0] = 100;
  job.fold();
  EXPECT_EQ(job.state.gradient_norm, 10);
  EXPECT_EQ(job.state.unscale[0], 0x1p-16F);
}

TEST(Agreement, AppliesAndThenStopsWhenAnyRankAsks) {
  Job job(3);
  job.records[2].stop_requested = 1;
  EXPECT_EQ(job.fold(), Outcome::applied);
  EXPECT_EQ(job.state.stop, 1);
  EXPECT_EQ(job.state.applied, 1);
  EXPECT_EQ(job.good_step(), Outcome::applied);
  EXPECT_EQ(job.state.stop, 0);
}

TEST(Agreement, StopsOnASkippedStepToo) {
  Job job(2);
  job.bad(0);
  job.records[1].stop_requested = 1;
  EXPECT_EQ(job.fold(), Outcome::skipped);
  EXPECT_EQ(job.state.stop, 1);
}

TEST(Agreement, FailsOnAllRanksWithTheFirstRanksError) {
  Job job(3);
  job.records[1].error_code = 7;
  job.records[1].first_bad_parameter = 4;
  job.records[2].error_code = 9;
  job.records[0].non_finite = 1;  // an error outranks an overflow
  const StepState before = job.state;
  EXPECT_EQ(job.fold(), Outcome::failed);
  EXPECT_EQ(job.state.failed_rank, 1);
  EXPECT_EQ(job.state.error_code, 7);
  EXPECT_EQ(job.state.first_bad_parameter, 4);
  EXPECT_EQ(job.state.last_applied, 0);
  EXPECT_EQ(job.state.applied, before.applied);
  EXPECT_EQ(job.state.attempted, before.attempted + 1);
  EXPECT_EQ(job.state.loss_scale, before.loss_scale);
}

TEST(Agreement, FailsWhenRanksAreAtDifferentSteps) {
  Job job(3);
  job.records[2].step += 1;
  EXPECT_EQ(job.fold(), Outcome::failed);
  EXPECT_EQ(job.state.failed_rank, 2);
  EXPECT_EQ(job.state.error_code, static_cast<int>(AgreementError::steps_differ));
}

TEST(Agreement, FailsWhenRanksRunDifferentConfigurations) {
  Job job(3);
  job.records[1].configuration = 99;
  job.records[1].error_code = 7;  // its own errors mean nothing to the others
  EXPECT_EQ(job.fold(), Outcome::failed);
  EXPECT_EQ(job.state.failed_rank, 1);
  EXPECT_EQ(job.state.error_code, static_cast<int>(AgreementError::configurations_differ));
}

TEST(Agreement, MovesNothingButAttemptedWhenNoRankHasASample) {
  Job job(2, {.initial = 8, .growth_interval = 2});
  job.good_step();
  job.good_step();  // grown, probing
  StepState wanted = job.state;
  job.good();
  for (AgreementRecord& record : job.records) record.weight = 0;
  EXPECT_EQ(job.fold(), Outcome::skipped);
  EXPECT_EQ(job.state.last_applied, 0);
  EXPECT_EQ(job.state.attempted, wanted.attempted + 1);
  EXPECT_EQ(job.state.applied, wanted.applied);
  EXPECT_EQ(job.state.loss_scale, wanted.loss_scale);
  EXPECT_EQ(job.state.good_steps, wanted.good_steps);
  EXPECT_EQ(job.state.probing, wanted.probing);
  EXPECT_EQ(job.state.consecutive_skips, wanted.consecutive_skips);
}

TEST(Agreement, ForgetsTheDecisionBefore) {
  Job job(1, {.initial = 1, .max_consecutive_skips = 1});
  job.bad_step();
  EXPECT_EQ(job.state.exhausted, 1);
  EXPECT_EQ(job.state.first_bad_parameter, 0);
  job.good_step();
  EXPECT_EQ(job.state.exhausted, 0);
  EXPECT_EQ(job.state.first_bad_parameter, -1);
  EXPECT_EQ(job.state.non_finite, 0);
}

}  // namespace
}  // namespace minim
