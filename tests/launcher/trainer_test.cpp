#include "minim/launcher/trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <mutex>
#include <set>

#include "launcher/rank_threads.h"
#include "launcher/small_network.h"
#include "minim/runtime/error.h"

namespace minim {
namespace {

using namespace testing;

constexpr std::int64_t kGlobalBatch = 84;  // divisible by 1, 2, 3, 4 and 7
constexpr int kSteps = 10;
constexpr double kLearningRate = 0.05;

struct Experiment {
  int world_size = 1;
  Precision precision = Precision::mixed;
  OptimizerConfig optimizer;
  int micro_batches = 1;
  std::int64_t batch = 0;  ///< 0: kGlobalBatch / world_size / micro_batches
  int steps = kSteps;
  /// Samples of the global step `s` that a rank has; default: an equal share.
  std::function<std::pair<std::int64_t, std::int64_t>(std::int64_t step, int rank)> share;
  float perturbation = 0;  ///< added to every master weight before the first step
};

struct Result {
  std::map<std::string, std::vector<float>> weights;
  std::vector<StepState> states;
};

Result train(const Experiment& setup) {
  Result result;
  std::mutex mutex;
  run_ranks(setup.world_size, [&](Communicator& communicator) {
    const auto backend = make_cpu_backend(1);
    Model model;
    Graph graph(model, Graph::Mode::training);
    build_network(graph);
    const std::int64_t batch = setup.batch > 0 ? setup.batch : kGlobalBatch / setup.world_size / setup.micro_batches;
    std::vector<PhaseConfig> phases(1);
    phases[0].graphs = {&graph};
    phases[0].batch = batch;
    phases[0].optimizer = setup.optimizer;
    Trainer trainer(*backend, communicator, model, std::move(phases),
                    {.precision = setup.precision, .micro_batches = setup.micro_batches, .seed = 3});
    if (setup.perturbation != 0) {
      for (Parameter* parameter : trainer.optimizer().parameters()) {
        const auto array = trainer.optimizer().array_names().front();
        auto values = trainer.optimizer().gather_array(array, *parameter);
        for (float& value : values) value += setup.perturbation;
        trainer.optimizer().set_array(array, *parameter, values);
      }
    }
    std::vector<StepState> states;
    for (int step = 0; step < setup.steps; ++step) {
      trainer.step([&](const MicroBatch& micro_batch) {
        std::int64_t first = (step * setup.world_size + communicator.rank()) * batch * setup.micro_batches + micro_batch.index * batch;
        std::int64_t valid = batch;
        if (setup.share) std::tie(first, valid) = setup.share(step, communicator.rank());
        fill(*backend, micro_batch.stream, *micro_batch.plans[0], first, valid);
        return 0;
      });
      states.push_back(trainer.state());
    }
    std::map<std::string, std::vector<float>> weights;
    for (const Parameter* parameter : trainer.optimizer().parameters()) {
      weights[parameter->name] = trainer.optimizer().gather_array(trainer.optimizer().array_names().front(), *parameter);
    }
    const std::scoped_lock lock(mutex);
    if (communicator.rank() == 0) {
      result.weights = std::move(weights);
      result.states = std::move(states);
    }
  });
  return result;
}

double largest_difference(const Result& a, const Result& b) {
  double largest = 0;
  for (const auto& [name, values] : a.weights) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      largest = std::max(largest, std::abs(static_cast<double>(values[i]) - b.weights.at(name)[i]));
    }
  }
  return largest;
}

/// How far two runs of the network may drift apart in ten steps when each gradient element carries a rounding error of at most
/// `relative` times its norm. An error e in one step's gradient moves the weights by lr * e, and momentum 0.9 by at most ten times
/// that; the network then amplifies the difference, by a factor that is measured: a run from weights moved by a known amount.
double drift_bound(double relative, const Result& run, const Experiment& single) {
  constexpr float kPerturbation = 0x1p-12F;
  Experiment moved = single;
  moved.perturbation = kPerturbation;
  const double amplification = std::max(1.0, largest_difference(train(moved), run) / kPerturbation);
  double largest_norm = 0;
  for (const StepState& state : run.states) largest_norm = std::max(largest_norm, state.gradient_norm);
  constexpr double kMomentumGain = 10;  // 1 / (1 - 0.9)
  return kSteps * kMomentumGain * single.optimizer.schedule.base * relative * largest_norm * amplification;
}

/// Expects a run of `setup` to end where the one rank of `single` does, up to that drift. Returns the run.
Result expect_like_one_rank(double relative, const Experiment& single, const Experiment& setup) {
  const Result one = train(single), many = train(setup);
  EXPECT_LE(largest_difference(one, many), drift_bound(relative, one, single));
  return many;
}

class WorldSize : public ::testing::TestWithParam<int> {};

TEST_P(WorldSize, TenMixedStepsAgreeWithOneRank) {
  const Experiment single{.optimizer = sgd(kLearningRate)};
  Experiment setup = single;
  setup.world_size = GetParam();
  // Every FP16 gradient is rounded once on each rank, once in the sum and once on the single rank: 3 half-ulps of 2^-11. Forward
  // and backward of a sample are the same whatever the batch, up to FP32 summation order, which is far below.
  constexpr double kRelative = 3 * 0x1p-11;
  const Result many = expect_like_one_rank(kRelative, single, setup);
  const Result one = train(single);
  EXPECT_GT(largest_difference(one, train({.optimizer = sgd(2 * kLearningRate)})), drift_bound(kRelative, one, single))
      << "the bound would not notice a wrong factor in the update";
  for (int step = 0; step < kSteps; ++step) {
    EXPECT_EQ(many.states[static_cast<std::size_t>(step)].applied, step + 1);
    EXPECT_NEAR(many.states[static_cast<std::size_t>(step)].weight, kGlobalBatch, 0);
  }
}

TEST_P(WorldSize, TenFp32StepsAgreeWithOneRank) {
  const Experiment single{.precision = Precision::fp32, .optimizer = sgd(kLearningRate)};
  Experiment setup = single;
  setup.world_size = GetParam();
  // FP32 sums of 84 * 64 products per weight in another order: error of recursive summation, n * 2^-24, with n = 84 * 64.
  expect_like_one_rank(84 * 64 * 0x1p-24, single, setup);
}

INSTANTIATE_TEST_SUITE_P(Ranks, WorldSize, ::testing::Values(2, 3, 4, 7), ::testing::PrintToStringParamName());

TEST(Trainer, MicroBatchesAverageLikeOneBatch) {
  const Experiment whole{.optimizer = sgd(kLearningRate)};
  Experiment split = whole;
  split.micro_batches = 3;
  split.world_size = 2;
  // Each of three micro-batches rounds the running FP16 sum, on each rank, then the sum over ranks: 5 half-ulps.
  expect_like_one_rank(5 * 0x1p-11, whole, split);
}

TEST(Trainer, UnequalRanksAverageOverAllSamples) {
  const Experiment whole{.optimizer = sgd(kLearningRate)};
  Experiment unequal = whole;
  unequal.world_size = 3;
  unequal.batch = 60;
  // Rank 0 has 24 samples, rank 1 all of its 60, rank 2 none: together the same 84 as the single rank's.
  unequal.share = [](std::int64_t step, int rank) -> std::pair<std::int64_t, std::int64_t> {
    const std::int64_t first = step * kGlobalBatch;
    if (rank == 0) return {first, 24};
    if (rank == 1) return {first + 24, 60};
    return {first, 0};
  };
  const Result many = expect_like_one_rank(3 * 0x1p-11, whole, unequal);
  EXPECT_DOUBLE_EQ(many.states.back().weight, kGlobalBatch);
}

TEST(Trainer, GradSyncFormsAllReduceAndReduceScatterGiveTheSameBits) {
  Experiment setup{.world_size = 3, .optimizer = sgd(kLearningRate)};
  const Result all_reduce = train(setup);
  setup.optimizer.grad_sync = GradSync::reduce_scatter;
  EXPECT_EQ(largest_difference(all_reduce, train(setup)), 0);
}

TEST(Trainer, UnshardedOptimizerGivesTheSameBits) {
  Experiment setup{.world_size = 3, .optimizer = sgd(kLearningRate)};
  const Result sharded = train(setup);
  setup.optimizer.shard = false;
  EXPECT_EQ(largest_difference(sharded, train(setup)), 0);
}

TEST(Trainer, Fp32AccumulationIsCloserThanTheBoundOfTheWireType) {
  const Experiment single{.optimizer = sgd(kLearningRate)};
  Experiment setup = single;
  setup.world_size = 7;
  setup.optimizer.grad_sync = GradSync::fp32_accumulate;
  // Rounded once on each rank and once on the single rank, not in the sum.
  expect_like_one_rank(2 * 0x1p-11, single, setup);
}

TEST(Trainer, ScaleThatOverflowsIsHalvedUntilStepsApplyAndLosesNothing) {
  // At 2^24 the gradients of this network overflow FP16.
  Experiment setup{.world_size = 2, .optimizer = sgd(kLearningRate, 16777216.0F), .steps = 40};
  const Result result = train(setup);
  const StepState& last = result.states.back();
  ASSERT_GT(last.attempted, last.applied) << "nothing overflowed: the test shows nothing";
  EXPECT_EQ(last.attempted, 40);
  EXPECT_EQ(last.loss_scale, 16777216.0F / std::exp2(static_cast<float>(last.attempted - last.applied)));
  EXPECT_EQ(result.states.front().outcome, static_cast<int>(Outcome::skipped));
}

/// The sentences of all errors that ranks of a run at an absurd learning rate end with, when `after` follows its first step.
std::set<std::string> numeric_errors(const std::function<void(Trainer&, const Feed&)>& after) {
  std::set<std::string> errors;
  std::mutex mutex;
  run_ranks(2, [&](Communicator& communicator) {
    const auto backend = make_cpu_backend(1);
    Model model;
    Graph graph(model, Graph::Mode::training);
    build_network(graph);
    std::vector<PhaseConfig> phases(1);
    phases[0].graphs = {&graph};
    phases[0].batch = 4;
    phases[0].optimizer = sgd(1e9);
    Trainer trainer(*backend, communicator, model, std::move(phases), {.seed = 3});
    const Feed feed = [&](const MicroBatch& micro_batch) {
      fill(*backend, micro_batch.stream, *micro_batch.plans[0], communicator.rank() * 4, 4);
      return 0;
    };
    trainer.step(feed);
    EXPECT_EQ(trainer.state().outcome, static_cast<int>(Outcome::applied));
    std::string text = "no error";
    try {
      after(trainer, feed);
    } catch (const NumericError& error) {
      text = error.what();
    }
    const std::scoped_lock lock(mutex);
    errors.insert(text);
  });
  return errors;
}

TEST(Trainer, AWeightThatOverflowsInTheLastStepIsReportedAsInAnyOther) {
  const auto in_step = numeric_errors([](Trainer& trainer, const Feed& feed) { trainer.step(feed); });
  ASSERT_EQ(in_step.size(), 1U);
  ASSERT_NE(in_step.begin()->find("has grown beyond what fp16 can hold"), std::string::npos) << *in_step.begin();
  EXPECT_EQ(numeric_errors([](Trainer& trainer, const Feed&) { trainer.check_weights(); }), in_step);
  EXPECT_EQ(numeric_errors([](Trainer& trainer, const Feed&) { trainer.gather_weights(); }), in_step);
}

}  // namespace
}  // namespace minim
