#include <gtest/gtest.h>

#include <vector>

#include "average_kernels.h"
#include "minim/optimizer/sharded_optimizer.h"
#include "minim/optimizer/step_state.h"
#include "minim/runtime/error.h"
#include "optimizer/rank_job.h"

namespace minim {
namespace {

using testing::constant_scale;
using testing::RankJob;
using testing::rough_gradient;
using testing::run_ranks;
using Arrays = std::vector<std::vector<float>>;

constexpr double kDecay = 0.75;

OptimizerConfig averaging(Precision precision, bool shard) {
  OptimizerConfig config = constant_scale(1);
  config.precision = precision;
  config.shard = shard;
  config.average_decay = kDecay;
  return config;
}

/// One array of all parameters. Collective.
Arrays array_of(RankJob& job, const std::string& name) {
  Arrays all;
  for (const Parameter& parameter : job.parameters) all.push_back(job.optimizer->gather_array(name, parameter));
  return all;
}

void step(RankJob& job, int number) {
  job.step([&](int p, std::int64_t i) { return rough_gradient(job.communicator.rank(), p, i, number); });
}

TEST(WeightAverage, FollowsAppliedSteps) {
  for (const int ranks : {1, 3}) {
    for (const Precision precision : {Precision::mixed, Precision::fp32}) {
      for (const bool shard : {true, false}) {
        run_ranks(ranks, [&](Communicator& communicator) {
          RankJob job(communicator, averaging(precision, shard));
          const std::string weights = job.optimizer->array_names().front();
          Arrays wanted = array_of(job, weights);
          EXPECT_EQ(array_of(job, "average"), wanted);
          for (int number = 0; number < 3; ++number) {
            step(job, number);
            const Arrays now = array_of(job, weights);
            for (std::size_t p = 0; p < now.size(); ++p) {
              for (std::size_t i = 0; i < now[p].size(); ++i) {
                const float distance = now[p][i] - wanted[p][i];
                EXPECT_NE(distance, 0);
                wanted[p][i] += static_cast<float>(1 - kDecay) * distance;
              }
            }
            EXPECT_EQ(array_of(job, "average"), wanted);
          }
        });
      }
    }
  }
}

TEST(WeightAverage, StaysInAStepThatIsSkipped) {
  run_ranks(2, [](Communicator& communicator) {
    RankJob job(communicator, averaging(Precision::mixed, true));
    step(job, 0);
    const Arrays before = array_of(job, "average");
    job.step([](int, std::int64_t) { return std::numeric_limits<float>::infinity(); });
    EXPECT_EQ(job.optimizer->state().last_applied, 0);
    EXPECT_EQ(array_of(job, "average"), before);
  });
}

TEST(WeightAverage, IsThereForEvaluationAndThenTheWeightsAgain) {
  for (const Precision precision : {Precision::mixed, Precision::fp32}) {
    for (const bool shard : {true, false}) {
      run_ranks(3, [&](Communicator& communicator) {
        RankJob job(communicator, averaging(precision, shard));
        RankJob undisturbed(communicator, averaging(precision, shard));
        for (RankJob* each : {&job, &undisturbed}) step(*each, 0);
        const Arrays average = array_of(job, "average");

        job.optimizer->exchange_averages(*job.stream);
        job.optimizer->gather_weights(*job.stream);
        job.stream->synchronize();
        const Arrays stored = job.stored(&Parameter::weight);
        for (std::size_t p = 0; p < average.size(); ++p) {
          const Parameter& parameter = job.parameters[p];
          std::vector<float> physical(average[p].size());
          to_physical(parameter.shape, parameter.layout, average[p], physical);
          const bool fp32 = parameter.keep_fp32 || precision == Precision::fp32;
          for (std::size_t i = 0; i < physical.size(); ++i) {
            EXPECT_EQ(stored[p][i], fp32 ? physical[i] : to_float(to_half(physical[i]))) << p << ", " << i;
          }
        }
        job.optimizer->exchange_averages(*job.stream);
        job.stream->synchronize();

        for (RankJob* each : {&job, &undisturbed}) step(*each, 1);
        EXPECT_EQ(job.seen, undisturbed.seen);
        EXPECT_EQ(job.arrays(), undisturbed.arrays());
      });
    }
  }
}

TEST(WeightAverage, StartsFromWeightsThatAreSet) {
  run_ranks(2, [](Communicator& communicator) {
    RankJob job(communicator, averaging(Precision::mixed, true));
    for (const Parameter& parameter : job.parameters) {
      const std::vector<float> values(static_cast<std::size_t>(parameter.shape.elements()), 3);
      job.optimizer->set_array("master", parameter, values);
      EXPECT_EQ(job.optimizer->gather_array("average", parameter), values);
    }
  });
}

TEST(WeightAverage, RefusesWhatItCannotAverage) {
  run_ranks(1, [](Communicator& communicator) {
    OptimizerConfig config = averaging(Precision::fp16, true);
    EXPECT_THROW(RankJob(communicator, config), InvalidArgument);
    config = averaging(Precision::mixed, true);
    config.average_decay = 1;
    EXPECT_THROW(RankJob(communicator, config), InvalidArgument);
  });
}

}  // namespace
}  // namespace minim
