#include "minim/optimizer/sharded_optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "minim/runtime/error.h"
#include "optimizer/rank_job.h"

namespace minim {
namespace {

using testing::constant_scale;
using testing::GradientOf;
using testing::plain;
using testing::RankJob;
using testing::rough_gradient;
using testing::run_ranks;
using testing::same_on_all_ranks;
using Arrays = std::vector<std::vector<float>>;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// Small integers: sums over samples and ranks, times powers of two, are exact in FP16.
float integer_gradient(int parameter, std::int64_t element, int sample, int step) {
  return static_cast<float>((element * 7 + parameter * 3 + sample * 5 + step * 11) % 5 - 2);
}

/// Arrays and norms after `steps` steps over 60 samples that are split unevenly over the ranks, one of five without any.
Arrays train_on_samples(Communicator& communicator, const OptimizerConfig& config, int steps) {
  constexpr int kSamples = 60;
  RankJob job(communicator, config);
  const int rank = communicator.rank(), ranks = communicator.size();
  const auto first_of = [&](int r) { return kSamples * r * r / (ranks * ranks) / 3 * 3; };
  const int first = first_of(rank), last = rank + 1 == ranks ? kSamples : first_of(rank + 1);
  std::vector<float> norms;
  for (int step = 0; step < steps; ++step) {
    const float scale = *job.optimizer->loss_scale().data<float>();
    const GradientOf gradient = [&](int parameter, std::int64_t element) {
      float sum = 0;
      for (int sample = first; sample < last; ++sample) sum += integer_gradient(parameter, element, sample, step);
      return sum * scale;
    };
    const StepState& state = job.step(gradient, {.weight = static_cast<float>(last - first), .report = {}});
    EXPECT_EQ(state.outcome, static_cast<int>(Outcome::applied));
    EXPECT_EQ(state.weight, kSamples);
    norms.push_back(static_cast<float>(state.gradient_norm));
  }
  Arrays arrays = job.arrays();
  arrays.push_back(norms);
  return arrays;
}

TEST(ShardedOptimizer, MakesTheSameUpdatesForAnyNumberOfRanks) {
  std::vector<OptimizerConfig> configs = {constant_scale(4, SgdRule{.momentum = 0.9}), constant_scale(4)};
  configs[0].clip_norm = 0.25;  // below the norm of every step
  configs[1].grad_sync = GradSync::fp32_accumulate;
  for (const UpdateRule& rule : {UpdateRule(SgdRule{.nesterov = true}), UpdateRule(AdamRule{}), UpdateRule(AdagradRule{}),
                                 UpdateRule(AdamRule{.decoupled_decay = true}), UpdateRule(RmsPropRule{.momentum = 0.9}),
                                 UpdateRule(LarsRule{}), UpdateRule(LambRule{})}) {
    configs.push_back(constant_scale(4, rule));
  }
  // Norms are added up in another order, in FP64: these round to the same trust ratios.
  for (OptimizerConfig& config : configs) config.groups[0].weight_decay = 0.01;
  for (const OptimizerConfig& config : configs) {
    const auto run = [&](Communicator& communicator) { return train_on_samples(communicator, config, 3); };
    const Arrays alone = same_on_all_ranks<Arrays>(1, run);
    for (const int ranks : {2, 3, 5}) EXPECT_TRUE(same_on_all_ranks<Arrays>(ranks, run) == alone) << ranks << " ranks";
  }
}

TEST(ShardedOptimizer, GivesTheSameBitsForEveryExactGradSyncAndUnsharded) {
  const auto run = [](GradSync sync, bool shard, const UpdateRule& rule) {
    OptimizerConfig config = constant_scale(16, rule);
    config.grad_sync = sync;
    config.shard = shard;
    config.clip_norm = 100;  // not reached: norms of other slices would be added in another order
    return same_on_all_ranks<Arrays>(3, [&](Communicator& communicator) {
      RankJob job(communicator, config);
      for (int step = 0; step < 3; ++step) {
        job.step([&](int p, std::int64_t i) { return rough_gradient(communicator.rank(), p, i, step); });
      }
      return job.arrays();
    });
  };
  for (const UpdateRule& rule : {UpdateRule(AdamRule{}), UpdateRule(LambRule{})}) {
    const Arrays all_reduced = run(GradSync::all_reduce, true, rule);
    EXPECT_TRUE(run(GradSync::reduce_scatter, true, rule) == all_reduced);
    EXPECT_TRUE(run(GradSync::all_reduce, false, rule) == all_reduced);
  }
}

TEST(ShardedOptimizer, GoesOnAfterASkippedStepAsIfItHadNotBeen) {
  for (const UpdateRule& rule :
       {UpdateRule(SgdRule{.nesterov = true}), UpdateRule(AdagradRule{}), UpdateRule(LarsRule{}), UpdateRule(LambRule{})}) {
    const auto run = [&](bool skips) {
      return same_on_all_ranks<Arrays>(3, [&](Communicator& communicator) {
        RankJob job(communicator, constant_scale(16, rule));
        for (int step = 0; step < 3; ++step) {
          if (skips) job.step([&](int p, std::int64_t i) { return p == 2 && i == 389 ? kInfinity : 64.0F; });
          job.step([&](int p, std::int64_t i) { return rough_gradient(communicator.rank(), p, i, step); });
        }
        EXPECT_EQ(job.optimizer->state().applied, 3);
        return job.arrays();
      });
    };
    EXPECT_TRUE(run(true) == run(false)) << name(rule);
  }
}

TEST(ShardedOptimizer, AddsInFp32WhatFp16CannotHold) {
  const auto outcome_of = [](GradSync sync) {
    return same_on_all_ranks<int>(3, [&](Communicator& communicator) {
      OptimizerConfig config = plain();
      config.grad_sync = sync;
      RankJob job(communicator, config);
      return static_cast<int>(job.step([](int, std::int64_t) { return kHalfMax; }).outcome);
    });
  };
  // 3 * 65504 / 2 is above 65504: an infinity that no cast may hide.
  EXPECT_EQ(outcome_of(GradSync::all_reduce), static_cast<int>(Outcome::skipped));
  EXPECT_EQ(outcome_of(GradSync::reduce_scatter), static_cast<int>(Outcome::skipped));
  EXPECT_EQ(outcome_of(GradSync::fp32_accumulate), static_cast<int>(Outcome::applied));
}

TEST(ShardedOptimizer, LeavesHeadroomOnTheWire) {
  same_on_all_ranks<int>(2, [](Communicator& communicator) {
    RankJob job(communicator, plain());
    const auto outcome = job.step([](int, std::int64_t) { return kHalfMax; }).outcome;
    EXPECT_EQ(outcome, static_cast<int>(Outcome::applied));  // 2 * 65504 / 2 fits
    return outcome;
  });
}

TEST(ShardedOptimizer, KeepsGradientsScaledOnTheWire) {
  // 2^-30 is zero in FP16: unscaled before the all-reduce, nothing would arrive.
  run_ranks(2, [](Communicator& communicator) {
    RankJob job(communicator, plain());
    const Arrays before = job.arrays();
    job.step([](int, std::int64_t) { return 0x1p-30F * 65536; });
    const Arrays after = job.arrays();
    for (std::size_t p = 0; p < after.size(); ++p) {
      for (std::size_t i = 0; i < after[p].size(); ++i) ASSERT_EQ(after[p][i], before[p][i] - 0x1p-30F) << p << ", " << i;
    }
  });
}

TEST(ShardedOptimizer, UnscalesWithTheScaleThatScaledTheLossWhenItGrows) {
  run_ranks(2, [](Communicator& communicator) {
    RankJob job(communicator, plain({.initial = 8, .growth_interval = 1}));
    for (Parameter& parameter : job.parameters) {
      job.optimizer->set_array("master", parameter,
                               std::vector<float>(static_cast<std::size_t>(parameter.shape.elements()), 100));
    }
    for (int step = 1; step <= 4; ++step) {
      const float scale = *job.optimizer->loss_scale().data<float>();
      job.step([&](int, std::int64_t) { return 0.5F * scale; });
      EXPECT_EQ(job.optimizer->state().loss_scale, 2 * scale);
      for (const auto& weights : job.arrays()) {
        for (const float w : weights) ASSERT_EQ(w, 100 - 0.5F * static_cast<float>(step));
      }
    }
  });
}

TEST(ShardedOptimizer, SkipsEverywhereWhatOneRankCannotRepresent) {
  for (const GradSync sync : {GradSync::all_reduce, GradSync::reduce_scatter, GradSync::fp32_accumulate}) {
    for (const float bad : {kInfinity, -kInfinity, std::nanf("")}) {
      run_ranks(3, [&](Communicator& communicator) {
        OptimizerConfig config = constant_scale(1, AdamRule{});
        config.loss_scale = {.initial = 1024};
        config.grad_sync = sync;
        RankJob job(communicator, config);
        job.step([](int, std::int64_t) { return 1.0F; });
        const Arrays before = job.arrays();
        const StepState& state =
            job.step([&](int p, std::int64_t i) { return communicator.rank() == 1 && p == 2 && i == 389 ? bad : 1.0F; });
        EXPECT_EQ(state.outcome, static_cast<int>(Outcome::skipped));
        EXPECT_EQ(state.non_finite, 1);
        EXPECT_EQ(state.first_bad_parameter, 2);
        EXPECT_EQ(state.loss_scale, 512);
        EXPECT_EQ(state.applied, 1);
        EXPECT_EQ(state.attempted, 2);
        EXPECT_TRUE(job.arrays() == before);
        EXPECT_EQ(job.step([](int, std::int64_t) { return 1.0F; }).outcome, static_cast<int>(Outcome::applied));
      });
    }
  }
}

TEST(ShardedOptimizer, CountsNothingTwiceWhenUnsharded) {
  run_ranks(3, [](Communicator& communicator) {
    OptimizerConfig config = plain();
    config.shard = false;
    RankJob job(communicator, config);
    const StepState& state =
        job.step([&](int p, std::int64_t i) { return communicator.rank() == 0 && p == 0 && i < 2 ? kInfinity : 1.0F; });
    EXPECT_EQ(state.non_finite, 2);
  });
}

TEST(ShardedOptimizer, EndsOnAllRanksWithTheErrorOfOneThatGoesOnWithoutGradients) {
  run_ranks(3, [](Communicator& communicator) {
    RankJob job(communicator, plain());
    const Arrays before = job.arrays();
    RankJob::Step step;
    if (communicator.rank() == 2) step = {.weight = 0, .report = {.error_code = 5}, .without_gradient = {0, 1, 2, 3}};
    const StepState& state = job.step([](int, std::int64_t) { return 1.0F; }, step);
    EXPECT_EQ(state.outcome, static_cast<int>(Outcome::failed));
    EXPECT_EQ(state.failed_rank, 2);
    EXPECT_EQ(state.error_code, 5);
    EXPECT_TRUE(job.arrays() == before);
  });
}

TEST(ShardedOptimizer, AppliesTheStepInWhichARankAsksToStop) {
  run_ranks(2, [](Communicator& communicator) {
    RankJob job(communicator, plain());
    RankJob::Step step;
    step.report.stop_requested = communicator.rank();
    const StepState& state = job.step([](int, std::int64_t) { return 1.0F; }, step);
    EXPECT_EQ(state.outcome, static_cast<int>(Outcome::applied));
    EXPECT_EQ(state.stop, 1);
  });
}

TEST(ShardedOptimizer, TakesAMissingGradientForZeroAndNotForTheLastOne) {
  run_ranks(2, [](Communicator& communicator) {
    RankJob job(communicator, plain());
    job.step([](int, std::int64_t) { return 64.0F; });
    const Arrays before = job.arrays();
    job.step([](int, std::int64_t) { return 64.0F; }, {.report = {}, .without_gradient = {1, 2}});
    const Arrays after = job.arrays();
    EXPECT_NE(after[0], before[0]);
    EXPECT_EQ(after[1], before[1]);
    EXPECT_EQ(after[2], before[2]);
    EXPECT_NE(after[3], before[3]);
  });
}

TEST(ShardedOptimizer, ReportsAWeightThatFp16CannotHoldAtTheNextAgreement) {
  run_ranks(3, [](Communicator& communicator) {
    RankJob job(communicator, plain({.mode = LossScaleMode::constant, .initial = 1}));
    // Only the last element of "fc" leaves the range: one rank knows.
    const GradientOf gradient = [](int p, std::int64_t i) { return p == 2 && i == 389 ? -30000.0F : 0.0F; };
    for (int step = 0; step < 3; ++step) {
      EXPECT_FALSE(job.optimizer->find_weight_overflow().has_value());
      EXPECT_EQ(job.step(gradient).outcome, static_cast<int>(Outcome::applied));  // the weight becomes 30000, 60000, 90000
    }
    const auto overflow = job.optimizer->find_weight_overflow();
    EXPECT_TRUE(overflow.has_value() && overflow->parameter == 2);
    const StepState& state = job.step([](int, std::int64_t) { return 0.0F; });
    EXPECT_EQ(state.outcome, static_cast<int>(Outcome::failed));
    EXPECT_EQ(state.error_code, static_cast<int>(AgreementError::weight_overflow));
    EXPECT_EQ(state.first_bad_parameter, 2);
    job.optimizer->initialize(1);
    EXPECT_EQ(job.step([](int, std::int64_t) { return 0.0F; }).outcome, static_cast<int>(Outcome::applied));
  });
}

TEST(ShardedOptimizer, InitializedAnewForgetsItsSteps) {
  run_ranks(2, [](Communicator& communicator) {
    RankJob job(communicator, constant_scale(64, AdamRule{}));
    const auto train = [&] {
      for (int step = 0; step < 2; ++step) {
        job.step([&](int p, std::int64_t i) { return rough_gradient(communicator.rank(), p, i, step); });
      }
      return job.arrays();
    };
    const Arrays first = train();
    job.optimizer->initialize(7);
    EXPECT_EQ(train(), first);
  });
}

TEST(ShardedOptimizer, FailsWhenARankRunsAnotherConfiguration) {
  run_ranks(2, [](Communicator& communicator) {
    OptimizerConfig config = plain();
    config.configuration_hash = static_cast<std::uint64_t>(communicator.rank());
    RankJob job(communicator, config);
    const StepState& state = job.step([](int, std::int64_t) { return 1.0F; });
    EXPECT_EQ(state.outcome, static_cast<int>(Outcome::failed));
    EXPECT_EQ(state.error_code, static_cast<int>(AgreementError::configurations_differ));
  });
}

TEST(ShardedOptimizer, DecaysAndScalesRatesByGroup) {
  run_ranks(2, [](Communicator& communicator) {
    OptimizerConfig config = plain();
    config.groups = {{.name = "default", .weight_decay = 0.25},
                     {.name = "bias", .learning_rate_factor = 0.5, .weight_decay = 0.5}};
    RankJob job(communicator, config);
    const Arrays before = job.arrays();
    job.step([](int, std::int64_t) { return 0.0F; });
    const Arrays after = job.arrays();
    EXPECT_EQ(after[0][0], before[0][0] - 0.25F * before[0][0]);
    EXPECT_EQ(after[1], before[1]);  // does not decay
    EXPECT_EQ(after[3][0], before[3][0] - 0.5F * (0.5F * before[3][0]));
  });
}

TEST(ShardedOptimizer, UpdatesFp16WeightsThemselvesInTheAblation) {
  run_ranks(2, [](Communicator& communicator) {
    OptimizerConfig config = plain();
    config.precision = Precision::fp16;
    RankJob job(communicator, config);
    EXPECT_EQ(job.optimizer->array_names(), std::vector<std::string>{"weight"});
    EXPECT_EQ(job.backend->memory()->in_use_bytes(MemoryKind::master_weights), 0);
    for (Parameter& parameter : job.parameters) {
      job.optimizer->set_array("weight", parameter, std::vector<float>(static_cast<std::size_t>(parameter.shape.elements()), 1));
    }
    for (int step = 0; step < 8; ++step) job.step([](int, std::int64_t) { return 0x1p-13F * 65536; });
    EXPECT_EQ(job.arrays()[0][0], 1);                 // lost: below a quarter of the spacing of FP16
    EXPECT_EQ(job.arrays()[1][0], 1 - 8 * 0x1p-13F);  // FP32
  });
}

TEST(ShardedOptimizer, DoesNotScaleWherePrecisionHasTheRange) {
  for (const Precision precision : {Precision::bf16, Precision::fp32}) {
    run_ranks(2, [&](Communicator& communicator) {
      OptimizerConfig config = plain({.initial = 1024, .growth_interval = 1});
      config.precision = precision;
      RankJob job(communicator, config);
      EXPECT_EQ(*job.optimizer->loss_scale().data<float>(), 1);
      const Arrays before = job.arrays();
      EXPECT_EQ(job.step([](int, std::int64_t) { return 0x1p-100F; }).outcome, static_cast<int>(Outcome::applied));
      EXPECT_EQ(job.optimizer->state().loss_scale, 1);
      EXPECT_EQ(job.step([](int, std::int64_t) { return kInfinity; }).outcome, static_cast<int>(Outcome::skipped));
      EXPECT_EQ(job.optimizer->state().loss_scale, 1);
    });
  }
}

TEST(ShardedOptimizer, ClipsTheNormOverAllRanks) {
  run_ranks(3, [](Communicator& communicator) {
    OptimizerConfig config = plain({.mode = LossScaleMode::constant, .initial = 16});
    config.clip_norm = 1;
    RankJob job(communicator, config);
    const Arrays before = job.arrays();
    job.step([](int, std::int64_t) { return 16.0F; });  // gradient 1 in each of 501 elements
    EXPECT_EQ(job.optimizer->state().gradient_norm, std::sqrt(501 * 9.0) / 3);
    const Arrays after = job.arrays();
    double squares = 0;
    for (std::size_t p = 0; p < 4; ++p) {
      for (std::size_t i = 0; i < after[p].size(); ++i) squares += std::pow(static_cast<double>(after[p][i] - before[p][i]), 2);
    }
    // Each difference of weights below 8 is rounded to a multiple of 2^-22 at worst, relative to updates of 0.045.
    EXPECT_NEAR(std::sqrt(squares), 1, 0x1p-22 / 0.045);
  });
}

TEST(ShardedOptimizer, GivesUpWithThePeerThatFailed) {
  EXPECT_THROW(run_ranks(2,
                         [](Communicator& communicator) {
                           RankJob job(communicator, plain());
                           if (communicator.rank() == 1) {
                             communicator.abort("the test says so");
                             return;
                           }
                           job.step([](int, std::int64_t) { return 1.0F; });
                         }),
               CommError);
}

TEST(ShardedOptimizer, RethrowsWhatAKernelThrewInsteadOfWaitingForIt) {
  try {
    run_ranks(2, [](Communicator& communicator) {
      RankJob job(communicator, plain());
      job.step([&](int parameter, std::int64_t) {
        if (communicator.rank() == 0 && parameter == 1) throw DeviceError("the device is lost");
        return 1.0F;
      });
    });
    FAIL() << "nothing was thrown";
  } catch (const DeviceError& error) {
    EXPECT_STREQ(error.what(), "the device is lost");
  }
}

TEST(ShardedOptimizer, RefusesWhatItCannotDo) {
  run_ranks(2, [](Communicator& communicator) {
    OptimizerConfig config = plain();
    config.shard = false;
    config.grad_sync = GradSync::reduce_scatter;
    EXPECT_THROW(RankJob(communicator, config), InvalidArgument);
    config = plain();
    config.groups = {{.name = "default"}, {.name = "other"}};
    EXPECT_THROW(RankJob(communicator, config), InvalidArgument);  // "bias" is in no group
    config = plain();
    config.nominal_weight = 0;
    EXPECT_THROW(RankJob(communicator, config), InvalidArgument);

    RankJob job(communicator, plain());
    EXPECT_THROW(job.optimizer->gather_array("moment1", job.parameters[0]), InvalidArgument);
    EXPECT_THROW(job.optimizer->set_array("master", job.parameters[0], std::vector<float>(3)), InvalidArgument);
    EXPECT_THROW(job.optimizer->before_use(Parameter{}, *job.stream), InvalidArgument);
    job.optimizer->begin_step(*job.stream);
    EXPECT_THROW(job.optimizer->begin_step(*job.stream), InvalidArgument);
    job.optimizer->gradient_ready(job.parameters[3], *job.stream);
    EXPECT_THROW(job.optimizer->gradient_ready(job.parameters[3], *job.stream), InvalidArgument);
    const TensorView sums = job.sums.view();
    std::ranges::fill(sums.span<float>(), 1.0F);
    EXPECT_THROW(job.optimizer->drain(), InvalidArgument);
    const auto finish = [&] {
      job.optimizer->finish_step(*job.stream, sums.slice(0, 1), sums.slice(1, 2), sums.slice(2, 3), {});
    };
    finish();
    EXPECT_THROW(finish(), InvalidArgument);
    EXPECT_THROW(job.optimizer->gather_weights(*job.stream), InvalidArgument);
    job.optimizer->begin_step(*job.stream);  // two at a time, no more
    finish();
    EXPECT_THROW(job.optimizer->begin_step(*job.stream), InvalidArgument);
    EXPECT_EQ(job.optimizer->under_way(), 2);
    EXPECT_TRUE(job.optimizer->drain());
    EXPECT_EQ(job.optimizer->state().attempted, 1);
    EXPECT_TRUE(job.optimizer->drain());
    EXPECT_EQ(job.optimizer->state().attempted, 2);
    EXPECT_FALSE(job.optimizer->drain());
  });
}

TEST(GradSync, IsKnownByName) {
  for (const auto sync : {GradSync::all_reduce, GradSync::reduce_scatter, GradSync::fp32_accumulate}) {
    EXPECT_EQ(parse_grad_sync(name(sync)), sync);
  }
  EXPECT_THROW(parse_grad_sync("sum"), InvalidArgument);
}

}  // namespace
}  // namespace minim
