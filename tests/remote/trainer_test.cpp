#include "minim/launcher/trainer.h"

#include <gtest/gtest.h>

#include "command/experiment.h"
#include "launcher/small_network.h"
#include "launcher/toy_pair.h"
#include "minim/runtime/transfer.h"
#include "remote/bits.h"
#include "remote/remote_backend.h"

namespace minim::testing {
namespace {

/// State and arrays of all phases. Collective.
void append_phases(std::string& bits, Trainer& trainer) {
  for (int phase = 0; phase < trainer.phases(); ++phase) {
    ShardedOptimizer& optimizer = trainer.optimizer(phase);
    append(bits, optimizer.state());
    for (const std::string& array : optimizer.array_names()) {
      for (const Parameter* parameter : optimizer.parameters()) append(bits, optimizer.gather_array(array, *parameter));
    }
  }
  for (const auto& state : trainer.model().states()) {
    for (const TensorView& view : {state->committed, state->pending}) {
      std::vector<float> values(static_cast<std::size_t>(view.elements()));
      download(trainer.backend(), view, values);
      append(bits, values);
    }
  }
}

TEST(RemoteTrainer, TrainsTwoPhases) {
  for (const int ranks : {1, 2}) {
    expect_the_same_behind_the_wall(ranks, [](Communicator& communicator, const MakeBackend& make_backend) {
      const auto backend = make_backend();
      Model model;
      const ToyPair pair(model);
      Trainer trainer(*backend, communicator, model, pair.phases(), {.micro_batches = 2});
      std::string bits;
      for (int step = 0; step < 4; ++step) {
        trainer.step([&](const MicroBatch& micro_batch) {
          pair.fill(*backend, micro_batch, 1000 * step + 10 * micro_batch.index + communicator.rank());
          return 0;
        });
        append_phases(bits, trainer);
      }
      EXPECT_EQ(trainer.state(1).applied, 4);
      return bits;
    });
  }
}

/// A network with states and with random numbers: batch norm and dropout.
void build(Graph& graph, const ImageTask& task) {
  const Value count = graph.input("valid_samples", ElementType::int32, Shape{1});
  Value x = graph.input("images", ElementType::activation, Shape{Shape::kBatch, task.height, task.width, task.channels}, count);
  const Value labels = graph.input("labels", ElementType::int32, Shape{Shape::kBatch}, count);
  x = graph.relu("relu", graph.batch_norm("bn", graph.conv2d("conv", x, 5, {.kernel_h = 3, .kernel_w = 3})));
  x = graph.dropout("dropout", graph.global_average_pool("pool", x), 0.25);
  finish_network(graph, graph.linear("fc", x, task.classes), labels);
}

TEST(RemoteTrainer, TrainsAndEvaluatesOnBatchesOfLoaders) {
  const ImageTask task{.height = 6, .width = 6, .channels = 1, .classes = kClasses};
  const auto dataset = make_synthetic(task, 50, 1, Split::train);
  for (const int ranks : {1, 2}) {
    expect_the_same_behind_the_wall(ranks, [&](Communicator& communicator, const MakeBackend& make_backend) {
      const auto backend = make_backend();
      Model model;
      Graph training(model, Graph::Mode::training), evaluation(model, Graph::Mode::evaluation);
      build(training, task);
      build(evaluation, task);
      const LoaderOptions loading{.batch = 4,
                                  .micro_batches = 3,
                                  .rank = communicator.rank(),
                                  .world_size = communicator.size(),
                                  .dtype = DType::fp16,
                                  .depth = 1};
      TrainingLoader training_loader(*dataset, *backend, loading);
      EvaluationLoader evaluation_loader(*dataset, *backend, loading);
      command::BatchFeed feed(*backend);
      std::vector<PhaseConfig> phases(1);
      phases[0].graphs = {&training};
      phases[0].batch = loading.batch;
      phases[0].optimizer = sgd(0.05, 16777216.0F);  // overflows at first
      Trainer trainer(*backend, communicator, model, std::move(phases), {.micro_batches = loading.micro_batches});
      Evaluator evaluator(trainer, evaluation, loading.batch);
      std::string bits;
      for (int step = 0; step < 12; ++step) {
        trainer.step([&](const MicroBatch& micro_batch) {
          feed.fill(*micro_batch.plans[0], training_loader.next(), micro_batch.step, micro_batch.stream);
          return 0;
        });
        append_phases(bits, trainer);
      }
      EXPECT_LT(trainer.state().applied, trainer.state().attempted) << "nothing overflowed";
      EXPECT_GT(trainer.state().applied, 0);
      append(bits, evaluator.run(evaluation_loader.batches(), [&](std::int64_t batch, Plan& plan, Stream& stream) {
        feed.fill(plan, evaluation_loader.read(batch), 0, stream);
      }));
      return bits;
    });
  }
}

}  // namespace
}  // namespace minim::testing
