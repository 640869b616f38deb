#include "minim/launcher/trainer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>

#include "forwarding_communicator.h"
#include "launcher/rank_threads.h"
#include "launcher/small_network.h"
#include "launcher/toy_pair.h"
#include "minim/runtime/half.h"

namespace minim {
namespace {

using namespace testing;

/// A trainer of one phase over the small network.
struct SmallTrainer {
  explicit SmallTrainer(Communicator& communicator, OptimizerConfig optimizer = sgd(0.05), Trainer::Options options = {})
      : backend(make_cpu_backend(1)), graph(model, Graph::Mode::training) {
    build_network(graph);
    std::vector<PhaseConfig> phases(1);
    phases[0].graphs = {&graph};
    phases[0].batch = 4;
    phases[0].optimizer = std::move(optimizer);
    trainer = std::make_unique<Trainer>(*backend, communicator, model, std::move(phases), options);
  }

  int feed(const MicroBatch& micro_batch) const {
    fill(*backend, micro_batch.stream, *micro_batch.plans[0], 0, 4);
    return 0;
  }
  void step(bool stop_requested = false) const {
    trainer->step([this](const MicroBatch& micro_batch) { return feed(micro_batch); }, stop_requested);
  }

  std::unique_ptr<Backend> backend;
  Model model;
  Graph graph;
  std::unique_ptr<Trainer> trainer;
};

TEST(Trainer, ErrorOfOneRankEndsTheStepOnAllRanksWithItsText) {
  std::vector<std::string> texts(3);
  std::vector<std::int64_t> applied(3);
  run_ranks(3, [&](Communicator& communicator) {
    SmallTrainer small(communicator);
    Trainer& trainer = *small.trainer;
    const auto feed = [&](const MicroBatch& micro_batch) {
      if (micro_batch.step == 1 && communicator.rank() == 2) throw DataError("cat.jpg: not an image");
      return small.feed(micro_batch);
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

/// Opens a gate when it is driven.
class GateKeeper final : public ForwardingCommunicator {
 public:
  GateKeeper(Communicator& to, Event gate) : ForwardingCommunicator(to), gate_(std::move(gate)) {}
  void progress() override {
    gate_.set();
    ForwardingCommunicator::progress();
  }

 private:
  Event gate_;
};

TEST(Trainer, CallsTheFeedAgainOnlyWhenItsCopiesHaveRun) {
  // The stream is stuck before the first copies until the host, waiting for them, drives the communicator.
  const Event gate = Event::manual();
  const auto self = make_self_communicator();
  GateKeeper communicator(*self, gate);
  const SmallTrainer small(communicator, sgd(0.05), {.micro_batches = 2});
  std::atomic<int> copied = 0;
  small.trainer->step([&](const MicroBatch& micro_batch) {
    EXPECT_EQ(copied, micro_batch.index);
    if (micro_batch.index == 0) micro_batch.stream.wait(gate);
    small.feed(micro_batch);
    micro_batch.stream.enqueue([&copied] { ++copied; });
    if (micro_batch.index == 1) gate.set();  // where the claim does not hold the test fails, and ends
    return 0;
  });
  EXPECT_EQ(copied, 2);
}

TEST(Trainer, ChoiceOfAPlanThatIsNotThereEndsTheStepOnAllRanks) {
  std::vector<std::string> texts(2);
  run_ranks(2, [&](Communicator& communicator) {
    SmallTrainer small(communicator);
    try {
      small.trainer->step([&](const MicroBatch& micro_batch) {
        small.feed(micro_batch);
        return communicator.rank();  // there is only plan 0
      });
    } catch (const InvalidArgument& error) {
      texts[static_cast<std::size_t>(communicator.rank())] = error.what();
    }
  });
  for (const std::string& text : texts) EXPECT_EQ(text.substr(0, 8), "rank 1: ");
}

TEST(Trainer, StopRequestOfOneRankReachesAllAfterTheStepIsApplied) {
  std::vector<int> stops(2);
  run_ranks(2, [&](Communicator& communicator) {
    SmallTrainer small(communicator);
    Trainer& trainer = *small.trainer;
    small.step();
    EXPECT_EQ(trainer.state().stop, 0);
    small.step(communicator.rank() == 1);
    stops[static_cast<std::size_t>(communicator.rank())] = trainer.state().stop;
    EXPECT_EQ(trainer.state().applied, 2);
  });
  EXPECT_EQ(stops, (std::vector<int>{1, 1}));
}

TEST(Trainer, RanksWithDifferentConfigurationsAreTold) {
  std::vector<std::string> texts(2);
  run_ranks(2, [&](Communicator& communicator) {
    const SmallTrainer small(communicator, sgd(0.05), {.configuration_hash = static_cast<std::uint64_t>(communicator.rank())});
    try {
      small.step();
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
  finish_network(graph, graph.linear("fc", graph.global_average_pool("pool", x), kClasses), labels);
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
        const Plan& plan = *micro_batch.plans[static_cast<std::size_t>(chosen)];
        fill(*backend, micro_batch.stream, plan, step * 100 + communicator.rank() * 10, 4);
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

TEST(Trainer, TwoPhasesUpdateTheirOwnNetworksInTurn) {
  std::vector<std::vector<float>> weights(2);
  run_ranks(2, [&](Communicator& communicator) {
    const auto backend = make_cpu_backend(1);
    Model model;
    ToyPair pair(model);
    Trainer trainer(*backend, communicator, model, pair.phases(), {});
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
        pair.fill(*backend, micro_batch, 1000 * step + communicator.rank());
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

void send_constant(Backend& backend, Stream& stream, const TensorView& input, float value) {
  send(backend, stream, input, [value](const TensorView& view) { fill_floating(view, [value](std::int64_t) { return value; }); });
}

/// Trains a step, then one in which a single micro-batch of rank 0 is infinite, then another: the bad one leaves nothing behind.
void expect_bad_batch_leaves_nothing(int micro_batches, int bad) {
  run_ranks(2, [&](Communicator& communicator) {
    const auto backend = make_cpu_backend(1);
    Model model;
    Graph graph(model, Graph::Mode::training);
    const Value count = graph.input("valid_samples", ElementType::int32, Shape{1});
    Value x = graph.input("images", ElementType::activation, Shape{Shape::kBatch, kImageSize, kImageSize, 1}, count);
    const Value labels = graph.input("labels", ElementType::int32, Shape{Shape::kBatch}, count);
    x = graph.batch_norm("bn", graph.conv2d("conv", x, 8, {.kernel_h = 3, .kernel_w = 3}));
    finish_network(graph, graph.linear("fc", graph.global_average_pool("pool", x), kClasses), labels);
    std::vector<PhaseConfig> phases(1);
    phases[0].graphs = {&graph};
    phases[0].batch = 4;
    phases[0].optimizer = sgd(0.05);
    Trainer trainer(*backend, communicator, model, std::move(phases), {.micro_batches = micro_batches});
    const auto everything = [&] {
      std::vector<float> values;
      for (const Parameter* parameter : trainer.optimizer().parameters()) {
        const auto master = trainer.optimizer().gather_array("master", *parameter);
        values.insert(values.end(), master.begin(), master.end());
      }
      for (const auto& state : model.states()) {
        for (const float value : state->committed.span<float>()) values.push_back(value);
        for (const float value : state->pending.span<float>()) values.push_back(value);
      }
      return values;
    };
    const auto step = [&](bool poisoned) {
      trainer.step([&](const MicroBatch& micro_batch) {
        const Plan& plan = *micro_batch.plans[0];
        fill(*backend, micro_batch.stream, plan, trainer.attempted() * 8, 4);
        // One rank's bad batch: the other's statistics must not move either.
        if (poisoned && communicator.rank() == 0 && micro_batch.index == bad)
          send_constant(*backend, micro_batch.stream, plan.input("images"), INFINITY);
        return 0;
      });
    };
    const auto before = everything();
    step(false);
    const auto after = everything();
    EXPECT_NE(before, after);
    step(true);
    EXPECT_EQ(trainer.state().outcome, static_cast<int>(Outcome::skipped));
    EXPECT_EQ(everything(), after);
    EXPECT_EQ(trainer.state().applied, 1);
    EXPECT_EQ(trainer.state().attempted, 2);
    step(false);
    EXPECT_EQ(trainer.state().applied, 2);
    EXPECT_NE(everything(), after);
  });
}

TEST(Trainer, SkippedStepLeavesWeightsAndStatisticsAsTheyWere) { expect_bad_batch_leaves_nothing(1, 0); }
TEST(Trainer, OneBadMicroBatchSkipsItsWholeWindow) { expect_bad_batch_leaves_nothing(3, 1); }

TEST(Trainer, EndsWithTheNameOfTheBadTensorWhenTheScaleCannotFall) {
  run_ranks(2, [&](Communicator& communicator) {
    OptimizerConfig constant_scale = sgd(0.05, 128.0F);
    constant_scale.loss_scale.mode = LossScaleMode::constant;
    SmallTrainer small(communicator, constant_scale);
    Trainer& trainer = *small.trainer;
    const auto feed = [&](const MicroBatch& micro_batch) {
      small.feed(micro_batch);
      if (communicator.rank() == 1) {
        send_constant(*small.backend, micro_batch.stream, micro_batch.plans[0]->input("images"), NAN);
      }
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
