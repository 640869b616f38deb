#include <gtest/gtest.h>

#include <limits>

#include "minim/optimizer/sharded_optimizer.h"
#include "optimizer/rank_job.h"

namespace minim {
namespace {

using testing::constant_scale;
using testing::plain;
using testing::RankJob;
using testing::rough_gradient;
using testing::run_ranks;
using testing::same_on_all_ranks;
using Arrays = std::vector<std::vector<float>>;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(ShardedOptimizer, ShowsForwardTheRoundedMasterWeightsOfAllRanks) {
  for (const int ranks : {1, 2, 5}) {
    Arrays masters;
    same_on_all_ranks<Arrays>(ranks, [&](Communicator& communicator) {
      RankJob job(communicator, constant_scale(1));
      for (int step = 0; step < 2; ++step) job.step([](int, std::int64_t i) { return static_cast<float>(i % 9) * 0.01F; });
      const Arrays arrays = job.arrays();
      job.step([](int, std::int64_t) { return 0.0F; });
      for (std::size_t p = 0; p < job.parameters.size(); ++p) {
        const Parameter& parameter = job.parameters[p];
        std::vector<float> physical(arrays[p].size());
        to_physical(parameter.shape, parameter.layout, arrays[p], physical);
        for (std::size_t i = 0; i < physical.size(); ++i) {
          const float wanted = parameter.keep_fp32 ? physical[i] : to_float(to_half(physical[i]));
          EXPECT_EQ(job.seen[p][i], wanted) << p << ", " << i;
        }
      }
      return job.seen;
    });
  }
}

TEST(ShardedOptimizer, GathersStaleWeightsForEvaluation) {
  same_on_all_ranks<Arrays>(3, [](Communicator& communicator) {
    RankJob job(communicator, plain());
    EXPECT_FALSE(job.optimizer->weights_current());
    job.step([](int, std::int64_t) { return 6400.0F; });
    EXPECT_FALSE(job.optimizer->weights_current());
    job.optimizer->gather_weights(*job.stream);
    EXPECT_TRUE(job.optimizer->weights_current());
    return job.stored(&Parameter::weight);
  });
}

TEST(ShardedOptimizer, KeepsPaddingZero) {
  run_ranks(3, [](Communicator& communicator) {
    RankJob job(communicator, constant_scale(16, AdamRule{}));
    for (int step = 0; step < 3; ++step) job.step([&](int p, std::int64_t i) { return rough_gradient(0, p, i, step); });
    job.optimizer->gather_weights(*job.stream);
    const Arrays weights = job.stored(&Parameter::weight);
    for (std::size_t p = 0; p < weights.size(); ++p) {
      const auto elements = static_cast<std::size_t>(job.parameters[p].shape.elements());
      for (std::size_t i = elements; i < weights[p].size(); ++i) ASSERT_EQ(weights[p][i], 0) << p << ", " << i;
    }
  });
}

TEST(ShardedOptimizer, StartsFromTheInitializersInLogicalOrder) {
  run_ranks(3, [](Communicator& communicator) {
    RankJob job(communicator, plain());
    for (const Parameter& parameter : job.parameters) {
      std::vector<float> wanted(static_cast<std::size_t>(parameter.shape.elements()));
      initialize(parameter.initializer, 7, parameter.name, 0, wanted);
      EXPECT_EQ(job.optimizer->gather_array("master", parameter), wanted) << parameter.name;
    }
  });
}

TEST(ShardedOptimizer, GoesOnBitForBitFromItsStateAndArrays) {
  // Scale counters are part of it: the scale grows on the same step, the schedule is where it was.
  OptimizerConfig config = constant_scale(1, AdamRule{});
  config.loss_scale = {.initial = 64, .growth_interval = 3};
  config.schedule = {.kind = ScheduleKind::cosine, .base = 0.01, .warmup_steps = 2, .total_steps = 10};
  const auto steps = [](RankJob& job, int first, int last) {
    for (int step = first; step < last; ++step) {
      job.step([&](int p, std::int64_t i) {
        return step == 2 && p == 0 && i == 0 ? kInfinity : rough_gradient(job.communicator.rank(), p, i, step);
      });
    }
  };
  same_on_all_ranks<Arrays>(2, [&](Communicator& communicator) {
    RankJob whole(communicator, config);
    steps(whole, 0, 8);
    RankJob half(communicator, config);
    steps(half, 0, 5);
    RankJob resumed(communicator, config);
    resumed.optimizer->initialize(99);
    resumed.set_arrays(half.arrays());
    resumed.optimizer->set_state(half.optimizer->state());
    steps(resumed, 5, 8);
    EXPECT_EQ(resumed.optimizer->state().loss_scale, whole.optimizer->state().loss_scale);
    EXPECT_EQ(resumed.optimizer->state().good_steps, whole.optimizer->state().good_steps);
    EXPECT_EQ(resumed.optimizer->state().applied, 7);
    EXPECT_EQ(resumed.optimizer->state().attempted, 8);
    EXPECT_TRUE(resumed.arrays() == whole.arrays());
    return resumed.arrays();
  });
}

}  // namespace
}  // namespace minim
