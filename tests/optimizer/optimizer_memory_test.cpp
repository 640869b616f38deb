#include <gtest/gtest.h>

#include "minim/optimizer/sharded_optimizer.h"
#include "optimizer/rank_job.h"

namespace minim {
namespace {

using testing::RankJob;
using testing::run_ranks;

TEST(OptimizerMemory, IsKnownBeforeItIsAllocated) {
  struct Choice {
    Precision precision;
    UpdateRule rule;
    GradSync sync;
    bool shard;
    double average_decay = 0;
    bool accumulate_fp32 = false;
  };
  const Choice choices[] = {{Precision::mixed, AdamRule{}, GradSync::all_reduce, true},
                            {Precision::mixed, AdamRule{}, GradSync::all_reduce, false},
                            {Precision::mixed, SgdRule{}, GradSync::fp32_accumulate, true},
                            {Precision::fp32, SgdRule{}, GradSync::fp32_accumulate, true},
                            {Precision::fp16, SgdRule{.momentum = 0}, GradSync::reduce_scatter, true},
                            {Precision::bf16, AdamRule{}, GradSync::fp32_accumulate, true},
                            {Precision::mixed, AdagradRule{}, GradSync::all_reduce, true},
                            {Precision::mixed, RmsPropRule{}, GradSync::reduce_scatter, true},
                            {Precision::fp32, RmsPropRule{.momentum = 0.9}, GradSync::all_reduce, false},
                            {Precision::mixed, LarsRule{}, GradSync::fp32_accumulate, true},
                            {Precision::mixed, LambRule{}, GradSync::all_reduce, true},
                            {Precision::fp32, LambRule{}, GradSync::all_reduce, false},
                            {Precision::mixed, SgdRule{}, GradSync::fp32_accumulate, true, 0.9},
                            {Precision::fp32, SgdRule{}, GradSync::all_reduce, false, 0.9},
                            {Precision::mixed, SgdRule{}, GradSync::all_reduce, true, 0, true},
                            {Precision::bf16, AdamRule{}, GradSync::fp32_accumulate, true, 0.9, true},
                            {Precision::fp32, SgdRule{}, GradSync::all_reduce, true, 0, true}};
  for (const int ranks : {1, 3}) {
    for (const Choice& choice : choices) {
      OptimizerConfig config;
      config.precision = choice.precision;
      config.rule = choice.rule;
      config.grad_sync = choice.sync;
      config.shard = choice.shard;
      config.average_decay = choice.average_decay;
      config.accumulate_fp32 = choice.accumulate_fp32;
      config.schedule.total_steps = 10;
      config.groups.push_back({.name = "bias"});
      config.buckets.bucket_bytes = 512;
      auto parameters = RankJob::make_parameters();
      const OptimizerMemory wanted = optimizer_memory(RankJob::pointers(parameters), ranks, config);
      run_ranks(ranks, [&](Communicator& communicator) {
        auto own = RankJob::make_parameters();
        const auto backend = make_cpu_backend(1);
        const ShardedOptimizer optimizer(*backend, communicator, RankJob::pointers(own), config);
        const MemoryAccount& memory = *backend->memory();
        EXPECT_EQ(memory.in_use_bytes(MemoryKind::weights), wanted.weights_bytes);
        EXPECT_EQ(memory.in_use_bytes(MemoryKind::gradients), wanted.gradients_bytes);
        EXPECT_EQ(memory.in_use_bytes(MemoryKind::master_weights), wanted.master_weights_bytes);
        EXPECT_EQ(memory.in_use_bytes(MemoryKind::moments), wanted.moments_bytes);
        EXPECT_EQ(memory.in_use_bytes(MemoryKind::workspace), wanted.workspace_bytes);
        EXPECT_EQ(memory.in_use_bytes(MemoryKind::state), wanted.state_bytes);
        EXPECT_EQ(memory.in_use_bytes(MemoryKind::staging), wanted.staging_bytes);
      });
    }
  }
}

TEST(OptimizerMemory, IsShardedWhenTheRanksDivideNothing) {
  // 501 elements over 5 or 7 ranks: a rank holds its share, rounded up to 64 elements a bucket, and never everything.
  OptimizerConfig config;
  config.groups.push_back({.name = "bias"});
  auto parameters = RankJob::make_parameters();
  for (const int ranks : {5, 7}) {
    const OptimizerMemory memory = optimizer_memory(RankJob::pointers(parameters), ranks, config);
    const std::int64_t padded = memory.weights_bytes;  // of all ranks
    EXPECT_EQ(memory.master_weights_bytes % (64 * 4), 0);
    EXPECT_LE(memory.master_weights_bytes, 2 * padded / ranks);  // FP32 where weights are FP16
    EXPECT_LT(memory.master_weights_bytes, 501 * 4);
  }
}

TEST(UpdateTraffic, CountsWhatIsReadAndWritten) {
  Parameter parameter;
  parameter.name = "w";
  parameter.shape = Shape{128};
  Parameter* const parameters[] = {&parameter};
  OptimizerConfig config;
  // Of its 64 elements a rank checks the gradient (2) and updates from gradient (2), master and two moments (8 each), weight (2).
  config.rule = AdamRule{};
  EXPECT_EQ(update_traffic_bytes(parameters, 2, config), 64 * (2 + 2 + 8 + 16 + 2));
  // Without shards it checks as much and updates everything.
  config.shard = false;
  EXPECT_EQ(update_traffic_bytes(parameters, 2, config), 64 * 2 + 128 * (2 + 8 + 16 + 2));
  config.rule = RmsPropRule{.momentum = 0.9};
  EXPECT_EQ(update_traffic_bytes(parameters, 2, config), 64 * 2 + 128 * (2 + 8 + 16 + 2));
  config.rule = RmsPropRule{};
  EXPECT_EQ(update_traffic_bytes(parameters, 2, config), 64 * 2 + 128 * (2 + 8 + 8 + 2));
  // Norms are of gradients (2) and master weights (4), LAMB's of two moments (4 each) as well.
  config.rule = LarsRule{};
  EXPECT_EQ(update_traffic_bytes(parameters, 2, config), 64 * 2 + 128 * (2 + 8 + 8 + 2 + 6));
  config.rule = LambRule{};
  EXPECT_EQ(update_traffic_bytes(parameters, 2, config), 64 * 2 + 128 * (2 + 8 + 16 + 2 + 14));
  // Sums in FP32.
  config.shard = true;
  config.rule = SgdRule{};
  config.grad_sync = GradSync::fp32_accumulate;
  EXPECT_EQ(update_traffic_bytes(parameters, 2, config), 64 * (4 + 4 + 8 + 8 + 2));
  // No master: the weight itself is read and written.
  config.precision = Precision::fp32;
  EXPECT_EQ(update_traffic_bytes(parameters, 1, config), 128 * (4 + 4 + 8 + 8));
}

}  // namespace
}  // namespace minim
