// The optimizer on CUDA devices, with NCCL between them.

#include <gtest/gtest.h>

#include "minim/comm/nccl.h"
#include "minim/runtime/cuda.h"
#include "optimizer/far_rank_job.h"

namespace minim::testing {
namespace {

void expect_steps_of_the_cpu(int ranks, UpdateRule rule, GradSync sync, bool shard, Precision precision) {
  std::string reason;
  if (cuda_device_count(reason) < ranks) return;
  const OptimizerConfig config = far_job_config(rule, sync, shard, precision);
  std::vector<std::string> cpu(static_cast<std::size_t>(ranks)), cuda(cpu.size());
  run_ranks(ranks, [&](Communicator& communicator) {
    cpu[static_cast<std::size_t>(communicator.rank())] = bits_of_steps(
        communicator, [] { return make_cpu_backend(1); }, config);
  });
  run_ranks(ranks, [&](Communicator& communicator) {
    const auto make_backend = [&] { return make_cuda_backend({.device = communicator.rank()}); };
    const auto backend = make_backend();
    use_nccl(communicator, *backend);
    cuda[static_cast<std::size_t>(communicator.rank())] = bits_of_steps(communicator, make_backend, config);
  });
  for (std::size_t rank = 0; rank < cpu.size(); ++rank) {
    EXPECT_FALSE(cpu[rank].empty());
    EXPECT_TRUE(cpu[rank] == cuda[rank]) << "rank " << rank << " of " << ranks;
  }
}

// Two numbers have one sum, in whatever order; more have where they are added in FP32 in the order of ranks.
TEST(OptimizerWithNccl, MakesTheStepsOfTheCpuInEveryFormOfGradSync) {
  for (const int ranks : {1, 2}) {
    expect_steps_of_the_cpu(ranks, SgdRule{}, GradSync::all_reduce, true, Precision::mixed);
    expect_steps_of_the_cpu(ranks, AdamRule{}, GradSync::reduce_scatter, true, Precision::bf16);
    expect_steps_of_the_cpu(ranks, AdamRule{.decoupled_decay = true}, GradSync::all_reduce, true, Precision::mixed);
    expect_steps_of_the_cpu(ranks, LarsRule{}, GradSync::reduce_scatter, true, Precision::mixed);
    expect_steps_of_the_cpu(ranks, SgdRule{}, GradSync::all_reduce, false, Precision::fp32);
    expect_steps_of_the_cpu(ranks, SgdRule{.momentum = 0}, GradSync::reduce_scatter, true, Precision::fp16);
  }
  for (const int ranks : {2, 3, 4}) {
    expect_steps_of_the_cpu(ranks, AdamRule{}, GradSync::fp32_accumulate, true, Precision::mixed);
    expect_steps_of_the_cpu(ranks, LambRule{}, GradSync::fp32_accumulate, true, Precision::mixed);
  }
}

}  // namespace
}  // namespace minim::testing
