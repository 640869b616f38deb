#include <gtest/gtest.h>

#include "optimizer/far_rank_job.h"
#include "remote/remote_backend.h"

namespace minim::testing {
namespace {

void expect_same_steps(int ranks, UpdateRule rule, GradSync sync, bool shard, Precision precision) {
  const OptimizerConfig config = far_job_config(rule, sync, shard, precision);
  expect_the_same_behind_the_wall(ranks, [&](Communicator& communicator, const MakeBackend& make_backend) {
    return bits_of_steps(communicator, make_backend, config);
  });
}

TEST(RemoteOptimizer, MakesTheSameSteps) {
  for (const int ranks : {1, 2, 3}) {
    expect_same_steps(ranks, SgdRule{}, GradSync::all_reduce, true, Precision::mixed);
    expect_same_steps(ranks, AdamRule{}, GradSync::reduce_scatter, true, Precision::bf16);
    expect_same_steps(ranks, RmsPropRule{.momentum = 0.9}, GradSync::all_reduce, true, Precision::mixed);
    expect_same_steps(ranks, LarsRule{}, GradSync::all_reduce, false, Precision::mixed);
    expect_same_steps(ranks, LambRule{}, GradSync::reduce_scatter, true, Precision::mixed);
    expect_same_steps(ranks, AdamRule{}, GradSync::fp32_accumulate, true, Precision::mixed);
    expect_same_steps(ranks, SgdRule{}, GradSync::all_reduce, false, Precision::fp32);
    expect_same_steps(ranks, SgdRule{.momentum = 0}, GradSync::all_reduce, true, Precision::fp16);
  }
}

}  // namespace
}  // namespace minim::testing
