// Training on CUDA devices, with NCCL between them.

#include "minim/launcher/trainer.h"

#include <gtest/gtest.h>

#include "launcher/rank_threads.h"
#include "launcher/tiny_run.h"
#include "minim/comm/nccl.h"
#include "minim/runtime/cuda.h"

namespace minim::testing {
namespace {

constexpr int kSteps = 20;

/// What a rank has at the end.
struct Outcome {
  std::vector<std::byte> weights;  ///< as forward reads them
  std::vector<float> scales;       ///< after each step
};

Outcome train_rank(Communicator& communicator, GradSync sync) {
  const auto make_backend = [&] { return make_cuda_backend({.device = communicator.rank()}); };
  const auto backend = make_backend();
  use_nccl(communicator, *backend);
  TinyRun run(communicator,
              {.loss_scale = {.initial = 0x1p22F, .growth_interval = 2}, .make_backend = make_backend, .grad_sync = sync});
  Outcome outcome;
  for (int step = 0; step < kSteps; ++step) {
    run.train(1);
    outcome.scales.push_back(run.trainer().state().used_loss_scale);
  }
  run.trainer().gather_weights();
  run.trainer().stream().synchronize();
  for (const auto& parameter : run.model().parameters()) {
    const TensorView weight = parameter->weight;
    const std::size_t begin = outcome.weights.size();
    outcome.weights.resize(begin + static_cast<std::size_t>(weight.size_bytes()));
    backend->copy({outcome.weights.data() + begin, weight.dtype(), weight.shape()}, weight);
  }
  return outcome;
}

TEST(TrainerWithNccl, HasTheSameWeightsOnAllRanksWhileTheLossScaleFallsAndGrows) {
  std::string reason;
  for (const int ranks : {2, 4}) {
    if (cuda_device_count(reason) < ranks) return;
    for (const GradSync sync : {GradSync::all_reduce, GradSync::reduce_scatter, GradSync::fp32_accumulate}) {
      std::vector<Outcome> outcomes(static_cast<std::size_t>(ranks));
      run_ranks(ranks, [&](Communicator& communicator) {
        outcomes[static_cast<std::size_t>(communicator.rank())] = train_rank(communicator, sync);
      });
      const Outcome& first = outcomes.front();
      EXPECT_NE(std::adjacent_find(first.scales.begin(), first.scales.end(), std::greater<>()), first.scales.end());
      EXPECT_NE(std::adjacent_find(first.scales.begin(), first.scales.end(), std::less<>()), first.scales.end());
      for (const Outcome& outcome : outcomes) {
        EXPECT_FALSE(outcome.weights.empty());
        EXPECT_EQ(outcome.scales, first.scales) << name(sync) << " on " << ranks << " ranks";
        EXPECT_TRUE(outcome.weights == first.weights) << name(sync) << " on " << ranks << " ranks";
      }
    }
  }
}

/// What ranks have after some steps with batch normalisation over all of them.
std::vector<Snapshot> train_together(const std::function<std::unique_ptr<Backend>(int rank)>& make_backend_of_rank) {
  std::vector<Snapshot> snapshots(2);
  run_ranks(2, [&](Communicator& communicator) {
    const auto make_backend = [&] { return make_backend_of_rank(communicator.rank()); };
    const auto backend = make_backend();
    if (!backend->host_accessible()) use_nccl(communicator, *backend);
    TinyRun run(communicator, {.precision = Precision::fp32, .make_backend = make_backend, .synchronise_batch_norm = true});
    run.train(5);
    snapshots[static_cast<std::size_t>(communicator.rank())] = run.snapshot();
  });
  return snapshots;
}

TEST(TrainerWithNccl, TakesStatisticsOfAllRanksAsTheCpuDoes) {
  std::string reason;
  if (cuda_device_count(reason) < 2) return;
  const auto devices = train_together([](int rank) { return make_cuda_backend({.device = rank}); });
  const auto cpus = train_together([](int) { return make_cpu_backend(1); });
  EXPECT_EQ(devices[0].states, devices[1].states);
  EXPECT_FALSE(devices[0].states.empty());
  constexpr double kBound = 300 * 0x1p-24;  // sums in another order, after five steps
  EXPECT_LE(relative_difference(cpus[0].states, devices[0].states), kBound);
  EXPECT_LE(relative_difference(cpus[0].arrays, devices[0].arrays), kBound);
}

/// The committed states of a rank, read without waiting for anything.
std::vector<std::vector<float>> states_after(int steps, bool ahead) {
  std::vector<std::vector<float>> states;
  run_ranks(1, [&](Communicator& communicator) {
    const auto make_backend = [] { return make_cuda_backend({}); };
    const auto backend = make_backend();
    use_nccl(communicator, *backend);
    TinyRun run(communicator, {.make_backend = make_backend});
    run.train(steps, ahead);
    for (const auto& state : run.model().states()) {
      download(run.backend(), state->committed, states.emplace_back(static_cast<std::size_t>(state->shape.elements())));
    }
  });
  return states;
}

TEST(TrainerWithNccl, HasCommittedItsStatesWhenItIsDrained) {
  const auto states = states_after(3, /*ahead=*/false);
  EXPECT_FALSE(states.empty());
  EXPECT_NE(states, states_after(2, /*ahead=*/false));
  EXPECT_EQ(states, states_after(3, /*ahead=*/true));
}

}  // namespace
}  // namespace minim::testing
