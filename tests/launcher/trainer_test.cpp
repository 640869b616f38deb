#include "minim/launcher/trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <mutex>
#include <numeric>

#include "launcher/rank_threads.h"
#include "minim/runtime/half.h"
#include "minim/runtime/philox.h"

namespace minim {
namespace {

using testing::run_ranks;

constexpr std::int64_t kGlobalBatch = 84;  // divisible by 1, 2, 3, 4 and 7
constexpr int kSteps = 10;
constexpr std::int64_t kSize = 8;
constexpr int kClasses = 4;

/// Pixel `i` of the training image at stream position `sample`, a multiple of 1/16 in [-1, 1): exact in FP16.
float pixel(std::int64_t sample, std::int64_t i) {
  const auto bits = philox({static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(sample), 0, 0}, {7, 7});
  return static_cast<float>(bits[0] >> 27U) / 16.0F - 1.0F;
}
std::int32_t label(std::int64_t sample) { return static_cast<std::int32_t>(sample % kClasses); }

/// A convolution network without batch norm, so that a sample's gradient does not depend on its neighbours.
void build_network(Graph& graph) {
  const Value count = graph.input("valid_samples", ElementType::int32, Shape{1});
  Value x = graph.input("images", ElementType::activation, Shape{Shape::kBatch, kSize, kSize, 1}, count);
  const Value labels = graph.input("labels", ElementType::int32, Shape{Shape::kBatch}, count);
  x = graph.conv2d("conv", x, 6,
                   {.kernel_h = 3, .kernel_w = 3, .geometry = {.pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1}, .bias = true});
  x = graph.relu("relu", x);
  x = graph.max_pool("pool", x, {});
  x = graph.linear("fc", graph.flatten("flatten", x), kClasses);
  const LossValues loss = graph.softmax_cross_entropy("loss", x, labels);
  graph.output("loss", loss.loss);
  graph.output("weight", loss.weight);
  graph.output("correct", loss.correct);
}

/// Fills a plan's inputs with `valid` samples from stream position `first` on; zeros behind them.
void fill(const Plan& plan, std::int64_t first, std::int64_t valid) {
  const TensorView images = plan.input("images");
  const std::int64_t per_sample = images.shape().elements_per_sample();
  dispatch_floating(images.dtype(), [&]<class T>(T) {
    for (std::int64_t n = 0; n < images.shape()[0]; ++n) {
      for (std::int64_t i = 0; i < per_sample; ++i) {
        images.data<T>()[n * per_sample + i] = round_to<T>(n < valid ? pixel(first + n, i) : 0.0F);
      }
      plan.input("labels").data<std::int32_t>()[n] = n < valid ? label(first + n) : 0;
    }
  });
  plan.input("valid_samples").data<std::int32_t>()[0] = static_cast<std::int32_t>(valid);
}

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

OptimizerConfig sgd(double learning_rate, float loss_scale = 1024.0F) {
  OptimizerConfig config;
  config.rule = SgdRule{.momentum = 0.9};
  config.loss_scale = {.initial = loss_scale};
  config.schedule = {.base = learning_rate, .total_steps = 1000};
  return config;
}

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
        fill(*micro_batch.plans[0], first, valid);
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
double drift_bound(double learning_rate, double relative, const Result& run, const Experiment& single) {
  constexpr float kPerturbation = 0x1p-12F;
  Experiment moved = single;
  moved.perturbation = kPerturbation;
  const double amplification = std::max(1.0, largest_difference(train(moved), run) / kPerturbation);
  double largest_norm = 0;
  for (const StepState& state : run.states) largest_norm = std::max(largest_norm, state.gradient_norm);
  constexpr double kMomentumGain = 10;  // 1 / (1 - 0.9)
  return kSteps * kMomentumGain * learning_rate * relative * largest_norm * amplification;
}

class WorldSize : public ::testing::TestWithParam<int> {};

TEST_P(WorldSize, TenMixedStepsAgreeWithOneRank) {
  constexpr double kLearningRate = 0.05;
  Experiment single{.optimizer = sgd(kLearningRate)};
  const Result one = train(single);
  Experiment setup = single;
  setup.world_size = GetParam();
  const Result many = train(setup);
  // Every FP16 gradient is rounded once on each rank, once in the sum and once on the single rank: 3 half-ulps of 2^-11. Forward and
  // backward of a sample are the same whatever the batch, up to FP32 summation order, which is far below.
  constexpr double kRelative = 3 * 0x1p-11;
  EXPECT_LE(largest_difference(one, many), drift_bound(kLearningRate, kRelative, one, single));
  EXPECT_GT(largest_difference(one, train({.optimizer = sgd(2 * kLearningRate)})), drift_bound(kLearningRate, kRelative, one, single))
      << "the bound would not notice a wrong factor in the update";
  for (int step = 0; step < kSteps; ++step) {
    EXPECT_EQ(many.states[static_cast<std::size_t>(step)].applied, step + 1);
    EXPECT_NEAR(many.states[static_cast<std::size_t>(step)].weight, kGlobalBatch, 0);
  }
}

TEST_P(WorldSize, TenFp32StepsAgreeWithOneRank) {
  constexpr double kLearningRate = 0.05;
  Experiment single{.precision = Precision::fp32, .optimizer = sgd(kLearningRate)};
  const Result one = train(single);
  Experiment setup = single;
  setup.world_size = GetParam();
  // FP32 sums of 84 * 64 products per weight in another order: error of recursive summation, n * 2^-24, with n = 84 * 64.
  constexpr double kRelative = 84 * 64 * 0x1p-24;
  EXPECT_LE(largest_difference(one, train(setup)), drift_bound(kLearningRate, kRelative, one, single));
}

INSTANTIATE_TEST_SUITE_P(Ranks, WorldSize, ::testing::Values(2, 3, 4, 7), ::testing::PrintToStringParamName());

TEST(Trainer, MicroBatchesAverageLikeOneBatch) {
  constexpr double kLearningRate = 0.05;
  Experiment whole{.optimizer = sgd(kLearningRate)};
  const Result one = train(whole);
  Experiment split = whole;
  split.micro_batches = 3;
  split.world_size = 2;
  // Each of three micro-batches rounds the running FP16 sum, on each rank, then the sum over ranks: 5 half-ulps.
  EXPECT_LE(largest_difference(one, train(split)), drift_bound(kLearningRate, 5 * 0x1p-11, one, whole));
}

TEST(Trainer, UnequalRanksAverageOverAllSamples) {
  constexpr double kLearningRate = 0.05;
  Experiment whole{.optimizer = sgd(kLearningRate)};
  const Result one = train(whole);
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
  const Result many = train(unequal);
  EXPECT_LE(largest_difference(one, many), drift_bound(kLearningRate, 3 * 0x1p-11, one, whole));
  EXPECT_DOUBLE_EQ(many.states.back().weight, kGlobalBatch);
}

TEST(Trainer, GradSyncFormsAllReduceAndReduceScatterGiveTheSameBits) {
  Experiment setup{.world_size = 3, .optimizer = sgd(0.05)};
  const Result all_reduce = train(setup);
  setup.optimizer.grad_sync = GradSync::reduce_scatter;
  EXPECT_EQ(largest_difference(all_reduce, train(setup)), 0);
}

TEST(Trainer, UnshardedOptimizerGivesTheSameBits) {
  Experiment setup{.world_size = 3, .optimizer = sgd(0.05)};
  const Result sharded = train(setup);
  setup.optimizer.shard = false;
  EXPECT_EQ(largest_difference(sharded, train(setup)), 0);
}

TEST(Trainer, Fp32AccumulationIsCloserThanTheBoundOfTheWireType) {
  constexpr double kLearningRate = 0.05;
  Experiment single{.optimizer = sgd(kLearningRate)};
  const Result one = train(single);
  Experiment setup = single;
  setup.world_size = 7;
  setup.optimizer.grad_sync = GradSync::fp32_accumulate;
  // Rounded once on each rank and once on the single rank, not in the sum.
  EXPECT_LE(largest_difference(one, train(setup)), drift_bound(kLearningRate, 2 * 0x1p-11, one, single));
}

TEST(Trainer, ScaleThatOverflowsIsHalvedUntilStepsApplyAndLosesNothing) {
  // At 2^24 the gradients of this network overflow FP16.
  Experiment setup{.world_size = 2, .optimizer = sgd(0.05, 16777216.0F), .steps = 40};
  const Result result = train(setup);
  const StepState& last = result.states.back();
  ASSERT_GT(last.attempted, last.applied) << "nothing overflowed: the test shows nothing";
  EXPECT_EQ(last.attempted, 40);
  EXPECT_EQ(last.loss_scale, 16777216.0F / std::exp2(static_cast<float>(last.attempted - last.applied)));
  EXPECT_EQ(result.states.front().outcome, static_cast<int>(Outcome::skipped));
}

TEST(Trainer, ErrorOfOneRankEndsTheStepOnAllRanksWithItsText) {
  std::vector<std::string> texts(3);
  std::vector<std::int64_t> applied(3);
  run_ranks(3, [&](Communicator& communicator) {
    const auto backend = make_cpu_backend(1);
    Model model;
    Graph graph(model, Graph::Mode::training);
    build_network(graph);
    std::vector<PhaseConfig> phases(1);
    phases[0].graphs = {&graph};
    phases[0].batch = 4;
    phases[0].optimizer = sgd(0.05);
    Trainer trainer(*backend, communicator, model, std::move(phases), {});
    const auto feed = [&](const MicroBatch& micro_batch) {
      if (micro_batch.step == 1 && communicator.rank() == 2) throw DataError("cat.jpg: not an image");
      fill(*micro_batch.plans[0], 0, 4);
      return 0;
    };
    trainer.step(feed);
    const auto index = static_cast<std::size_t>(communicator.rank());
    try {
      trainer.step(feed);
    } catch (const DataError& error) {
      texts[index] = error.what();
    }
    applied[index] = trainer.state().applied;
  });
  for (int rank = 0; rank < 3; ++rank) {
    EXPECT_EQ(texts[static_cast<std::size_t>(rank)], "rank 2: cat.jpg: not an image");
    EXPECT_EQ(applied[static_cast<std::size_t>(rank)], 1);
  }
}

TEST(Trainer, StopRequestOfOneRankReachesAllAfterTheStepIsApplied) {
  std::vector<int> stops(2);
  run_ranks(2, [&](Communicator& communicator) {
    const auto backend = make_cpu_backend(1);
    Model model;
    Graph graph(model, Graph::Mode::training);
    build_network(graph);
    std::vector<PhaseConfig> phases(1);
    phases[0].graphs = {&graph};
    phases[0].batch = 4;
    phases[0].optimizer = sgd(0.05);
    Trainer trainer(*backend, communicator, model, std::move(phases), {});
    const auto feed = [&](const MicroBatch& micro_batch) {
      fill(*micro_batch.plans[0], 0, 4);
      return 0;
    };
    trainer.step(feed);
    EXPECT_EQ(trainer.state().stop, 0);
    trainer.step(feed, communicator.rank() == 1);
    stops[static_cast<std::size_t>(communicator.rank())] = trainer.state().stop;
    EXPECT_EQ(trainer.state().applied, 2);
  });
  EXPECT_EQ(stops, (std::vector<int>{1, 1}));
}

TEST(Trainer, RanksWithDifferentConfigurationsAreTold) {
  std::vector<std::string> texts(2);
  run_ranks(2, [&](Communicator& communicator) {
    const auto backend = make_cpu_backend(1);
    Model model;
    Graph graph(model, Graph::Mode::training);
    build_network(graph);
    std::vector<PhaseConfig> phases(1);
    phases[0].graphs = {&graph};
    phases[0].batch = 4;
    phases[0].optimizer = sgd(0.05);
    Trainer trainer(*backend, communicator, model, std::move(phases),
                    {.configuration_hash = static_cast<std::uint64_t>(communicator.rank())});
    try {
      trainer.step([&](const MicroBatch& micro_batch) {
        fill(*micro_batch.plans[0], 0, 4);
        return 0;
      });
    } catch (const InvalidArgument& error) {
      texts[static_cast<std::size_t>(communicator.rank())] = error.what();
    }
  });
  for (const auto& text : texts) EXPECT_NE(text.find("another configuration"), std::string::npos) << text;
}

/// The same network with twice the image side, over the same parameters: global pooling makes the length free.
void build_pooled(Graph& graph, std::int64_t size) {
  const Value count = graph.input("valid_samples", ElementType::int32, Shape{1});
  Value x = graph.input("images", ElementType::activation, Shape{Shape::kBatch, size, size, 1}, count);
  const Value labels = graph.input("labels", ElementType::int32, Shape{Shape::kBatch}, count);
  x = graph.relu("relu", graph.conv2d("conv", x, 6, {.kernel_h = 3, .kernel_w = 3}));
  x = graph.linear("fc", graph.global_average_pool("pool", x), kClasses);
  const LossValues loss = graph.softmax_cross_entropy("loss", x, labels);
  graph.output("loss", loss.loss);
  graph.output("weight", loss.weight);
  graph.output("correct", loss.correct);
}

TEST(Trainer, RanksMayRunPlansOfDifferentLengthsInTheSameStep) {
  std::vector<std::vector<float>> weights(2);
  run_ranks(2, [&](Communicator& communicator) {
    const auto backend = make_cpu_backend(1);
    Model model;
    Graph small(model, Graph::Mode::training);
    build_pooled(small, 6);
    Graph large(model, Graph::Mode::training);
    build_pooled(large, 14);
    std::vector<PhaseConfig> phases(1);
    phases[0].graphs = {&small, &large};
    phases[0].batch = 4;
    phases[0].optimizer = sgd(0.05);
    Trainer trainer(*backend, communicator, model, std::move(phases), {.micro_batches = 2});
    for (int step = 0; step < 4; ++step) {
      trainer.step([&](const MicroBatch& micro_batch) {
        const int chosen = (step + communicator.rank() + micro_batch.index) % 2;  // never the same on both ranks
        fill(*micro_batch.plans[static_cast<std::size_t>(chosen)], step * 100 + communicator.rank() * 10, 4);
        return chosen;
      });
      EXPECT_EQ(trainer.state().applied, step + 1);
      EXPECT_EQ(trainer.state().weight, 16);
    }
    trainer.gather_weights();
    auto& mine = weights[static_cast<std::size_t>(communicator.rank())];
    for (const auto& parameter : model.parameters()) {
      for (const Half value : parameter->weight.span<Half>()) mine.push_back(to_float(value));
    }
  });
  EXPECT_EQ(weights[0], weights[1]);
}

/// Two networks in opposition: a generator maps noise to points, a critic tells them from data. Each phase updates one of them.
struct ToyPair {
  explicit ToyPair(Model& model) : critic_graph(model, Graph::Mode::training), generator_graph(model, Graph::Mode::training) {
    const auto generate = [](Graph& graph) {
      const Value noise = graph.input("noise", ElementType::activation, Shape{Shape::kBatch, 4});
      return graph.linear("generator.out", graph.relu("generator.relu", graph.linear("generator.in", noise, 8)), 2);
    };
    const auto criticise = [](Graph& graph, const std::string& prefix, Value points, Value labels) {
      const Value hidden = graph.relu(prefix + ".relu", graph.linear("critic.in", points, 8));
      return graph.softmax_cross_entropy(prefix + ".loss", graph.linear("critic.out", hidden, 2), labels);
    };
    const auto name_outputs = [](Graph& graph, const LossValues& loss) {
      graph.output("loss", loss.loss);
      graph.output("weight", loss.weight);
      graph.output("correct", loss.correct);
    };
    generator_labels = "labels";
    {
      const Value points = generate(generator_graph);
      const Value labels = generator_graph.input("labels", ElementType::int32, Shape{Shape::kBatch});
      name_outputs(generator_graph, criticise(generator_graph, "critic", points, labels));
    }
    {
      const Value points = critic_graph.input("points", ElementType::activation, Shape{Shape::kBatch, 2});
      const Value labels = critic_graph.input("labels", ElementType::int32, Shape{Shape::kBatch});
      name_outputs(critic_graph, criticise(critic_graph, "critic", points, labels));
    }
  }
  Graph critic_graph;
  Graph generator_graph;
  std::string generator_labels;
};

void fill_floating(const TensorView& view, const std::function<float(std::int64_t)>& value) {
  dispatch_floating(view.dtype(), [&]<class T>(T) {
    for (std::int64_t i = 0; i < view.elements(); ++i) view.data<T>()[i] = round_to<T>(value(i));
  });
}

TEST(Trainer, TwoPhasesUpdateTheirOwnNetworksInTurn) {
  std::vector<std::vector<float>> weights(2);
  run_ranks(2, [&](Communicator& communicator) {
    const auto backend = make_cpu_backend(1);
    Model model;
    ToyPair pair(model);
    const auto starts_with = [](const char* prefix) {
      return [prefix](const Parameter& parameter) { return parameter.name.starts_with(prefix); };
    };
    std::vector<PhaseConfig> phases(2);
    phases[0] = {.name = "critic", .graphs = {&pair.critic_graph}, .updates = starts_with("critic"), .batch = 8, .optimizer = sgd(0.1)};
    phases[1] = {.name = "generator", .graphs = {&pair.generator_graph}, .updates = starts_with("generator"), .batch = 8,
                 .optimizer = sgd(0.1, 4096.0F)};
    Trainer trainer(*backend, communicator, model, std::move(phases), {});
    const auto snapshot = [&](int phase) {
      std::vector<float> values;
      for (const Parameter* parameter : trainer.optimizer(phase).parameters()) {
        const auto array = trainer.optimizer(phase).gather_array("master", *parameter);
        values.insert(values.end(), array.begin(), array.end());
      }
      return values;
    };
    auto critic = snapshot(0);
    auto generator = snapshot(1);
    for (int step = 0; step < 5; ++step) {
      trainer.step([&](const MicroBatch& micro_batch) {
        const Plan& plan = *micro_batch.plans[0];
        const auto noise = [&](std::int64_t i) { return pixel(1000 * step + communicator.rank(), i); };
        fill_floating(plan.input(micro_batch.phase == 0 ? "points" : "noise"), noise);
        for (std::int64_t n = 0; n < 8; ++n) plan.input("labels").data<std::int32_t>()[n] = static_cast<std::int32_t>(n % 2);
        return 0;
      });
      const auto critic_now = snapshot(0);
      const auto generator_now = snapshot(1);
      EXPECT_NE(critic, critic_now);
      EXPECT_NE(generator, generator_now);
      critic = critic_now;
      generator = generator_now;
    }
    EXPECT_EQ(trainer.state(0).applied, 5);
    EXPECT_EQ(trainer.state(1).applied, 5);
    EXPECT_EQ(trainer.state(1).loss_scale, 4096.0F);
    auto& mine = weights[static_cast<std::size_t>(communicator.rank())];
    mine = critic;
    mine.insert(mine.end(), generator.begin(), generator.end());
  });
  EXPECT_EQ(weights[0], weights[1]);
}

TEST(Trainer, SkippedStepTakesRunningStatisticsBack) {
  run_ranks(2, [&](Communicator& communicator) {
    const auto backend = make_cpu_backend(1);
    Model model;
    Graph graph(model, Graph::Mode::training);
    const Value count = graph.input("valid_samples", ElementType::int32, Shape{1});
    Value x = graph.input("images", ElementType::activation, Shape{Shape::kBatch, kSize, kSize, 1}, count);
    const Value labels = graph.input("labels", ElementType::int32, Shape{Shape::kBatch}, count);
    x = graph.batch_norm("bn", graph.conv2d("conv", x, 8, {.kernel_h = 3, .kernel_w = 3}));
    const LossValues loss =
        graph.softmax_cross_entropy("loss", graph.linear("fc", graph.global_average_pool("pool", x), kClasses), labels);
    graph.output("loss", loss.loss);
    graph.output("weight", loss.weight);
    graph.output("correct", loss.correct);
    std::vector<PhaseConfig> phases(1);
    phases[0].graphs = {&graph};
    phases[0].batch = 4;
    phases[0].optimizer = sgd(0.05);
    Trainer trainer(*backend, communicator, model, std::move(phases), {});
    const auto statistics = [&] {
      std::vector<float> values;
      for (const auto& state : model.states()) {
        for (const float value : state->committed.span<float>()) values.push_back(value);
        for (const float value : state->pending.span<float>()) values.push_back(value);
      }
      return values;
    };
    const auto step = [&](bool poisoned) {
      trainer.step([&](const MicroBatch& micro_batch) {
        fill(*micro_batch.plans[0], trainer.attempted() * 8, 4);
        // One rank's bad batch: the other's statistics must not move either.
        if (poisoned && communicator.rank() == 0) fill_floating(micro_batch.plans[0]->input("images"), [](std::int64_t) { return INFINITY; });
        return 0;
      });
    };
    const auto before = statistics();
    step(false);
    const auto after = statistics();
    EXPECT_NE(before, after);
    step(true);
    EXPECT_EQ(trainer.state().outcome, static_cast<int>(Outcome::skipped));
    EXPECT_EQ(statistics(), after);
    EXPECT_EQ(trainer.state().applied, 1);
    EXPECT_EQ(trainer.state().attempted, 2);
  });
}

TEST(Trainer, EndsWithTheNameOfTheBadTensorWhenTheScaleCannotFall) {
  run_ranks(2, [&](Communicator& communicator) {
    const auto backend = make_cpu_backend(1);
    Model model;
    Graph graph(model, Graph::Mode::training);
    build_network(graph);
    std::vector<PhaseConfig> phases(1);
    phases[0].graphs = {&graph};
    phases[0].batch = 4;
    phases[0].optimizer = sgd(0.05, 128.0F);
    phases[0].optimizer.loss_scale.mode = LossScaleMode::constant;
    Trainer trainer(*backend, communicator, model, std::move(phases), {});
    const auto feed = [&](const MicroBatch& micro_batch) {
      fill(*micro_batch.plans[0], 0, 4);
      if (communicator.rank() == 1) fill_floating(micro_batch.plans[0]->input("images"), [](std::int64_t) { return NAN; });
      return 0;
    };
    for (int step = 0; step < 19; ++step) trainer.step(feed);
    EXPECT_EQ(trainer.state().loss_scale, 128.0F);
    try {
      trainer.step(feed);
      ADD_FAILURE() << "20 skipped steps did not end the run";
    } catch (const NumericError& error) {
      EXPECT_NE(std::string(error.what()).find("conv.weight"), std::string::npos) << error.what();
    }
  });
}

}  // namespace
}  // namespace minim
