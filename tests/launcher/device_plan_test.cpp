#include "command/device_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "command/data_outline.h"
#include "minim/comm/buckets.h"
#include "minim/runtime/cuda.h"

namespace minim::command {
namespace {

RunConfig imagenet(const std::string& model, const std::string& precision, std::int64_t batch) {
  RunConfig config;
  config.model = model;
  config.dataset = "synthetic";
  config.image_size = 224;
  config.channels = 3;
  config.classes = 1000;
  config.precision = precision;
  config.batch = batch;
  return resolve(config);
}

struct Planned {
  Planned(const RunConfig& config_, const char* gpu)
      : config(config_),
        network(config, outline_of(config).task),
        backend(make_planning_backend_without_cuda()),
        figures(figures_of(config, network, outline_of(config).task, 1, *backend, 100)),
        plan{.gpu = *find_gpu_model(gpu),
             .network = network,
             .config = config,
             .figures = figures,
             .network_gbit = 400,
             .total_steps = 100,
             .lacking = {}} {}

  RunConfig config;
  Network network;
  std::unique_ptr<Backend> backend;
  StepFigures figures;
  DevicePlan plan;
};

double kernel_seconds(const TimedStep& step) {
  double seconds = 0;
  for (const auto* pass : {&step.forward, &step.backward}) {
    for (const TimedKernel& kernel : *pass) seconds += kernel.seconds;
  }
  return seconds;
}

TEST(StepFigures, CountWhatNcclReceivesForSumsInFp32) {
  RunConfig config = imagenet("resnet-18", "mixed", 8);
  config.grad_sync = "fp32-accumulate";
  const Network network(config, outline_of(config).task);
  const auto workspace_on = [&](Backend& backend) {
    return figures_of(config, network, outline_of(config).task, 4, backend, 100).optimizer.workspace_bytes;
  };
  const OptimizerConfig optimizer = optimizer_config(config, 100);
  std::int64_t largest = 0;
  for (const Bucket& bucket : plan_buckets(network.parameters(), DType::fp16, 4, optimizer.buckets)) {
    largest = std::max(largest, bucket.elements * size_bytes(bucket.dtype));
  }
  EXPECT_GT(largest, 1 << 20);
  EXPECT_EQ(workspace_on(*make_planning_backend_without_cuda()), workspace_on(*make_reference_backend()) + largest);
}

TEST(DevicePlan, BoundsWhatWasMeasured) {
  // benchmarks/GPU_RESULTS.md: images/s of one H200.
  struct Row {
    const char *model, *precision;
    std::int64_t batch;
    double measured;
  };
  const Row rows[] = {{"resnet-50", "mixed", 64, 4895},
                      {"resnet-18", "mixed", 128, 16153},
                      {"resnet-50", "bf16", 64, 4837},
                      {"resnet-18", "bf16", 128, 15860},
                      {"resnet-50", "fp32", 64, 424}};
  for (const Row& row : rows) {
    const Planned planned(imagenet(row.model, row.precision, row.batch), "h200");
    const double best = static_cast<double>(row.batch) / simulate(timed_step(planned.plan, 1)).step;
    EXPECT_GT(best, row.measured) << row.model << " " << row.precision;
    EXPECT_LT(best, 20 * row.measured) << row.model << " " << row.precision << ": says nothing";
  }
}

TEST(DevicePlan, KnowsTheBucketsOfEveryKernel) {
  RunConfig config = imagenet("resnet-50", "mixed", 2);
  config.bucket_mb = 4;
  const Planned planned(config, "h100");
  const TimedStep step = timed_step(planned.plan, 8);
  ASSERT_GT(step.buckets.size(), 8U);
  std::vector<int> completed(step.buckets.size()), used(step.buckets.size());
  for (const TimedKernel& kernel : step.backward) {
    for (const int bucket : kernel.buckets) completed[static_cast<std::size_t>(bucket)] += 1;
  }
  for (const TimedKernel& kernel : step.forward) {
    for (const int bucket : kernel.buckets) used[static_cast<std::size_t>(bucket)] += 1;
  }
  for (std::size_t b = 0; b < step.buckets.size(); ++b) {
    EXPECT_GT(step.buckets[b].gradients, 0);
    EXPECT_EQ(completed[b], step.buckets[b].gradients);
    EXPECT_EQ(used[b], step.buckets[b].gradients);
  }
}

TEST(DevicePlan, CommunicatesAsConfigured) {
  const auto overlap = [](const std::string& sync, bool shard) {
    RunConfig config = imagenet("resnet-18", "mixed", 2);
    config.grad_sync = sync;
    config.shard = shard;
    const Planned planned(config, "h100");
    return simulate(timed_step(planned.plan, 64));
  };
  const Overlap all_reduce = overlap("all-reduce", true), scatter = overlap("reduce-scatter", true);
  EXPECT_DOUBLE_EQ(all_reduce.reduction, 2 * scatter.reduction);
  EXPECT_DOUBLE_EQ(all_reduce.gather, scatter.reduction);
  EXPECT_GT(overlap("fp32-accumulate", true).reduction, scatter.reduction) << "parts go to other nodes unsummed";
  const Overlap whole = overlap("all-reduce", false);
  EXPECT_EQ(whole.gather, 0);
  EXPECT_EQ(whole.reduction, all_reduce.reduction);
}

TEST(DevicePlan, CountsEveryMicroBatch) {
  RunConfig config = imagenet("resnet-18", "mixed", 2);
  const Planned one(config, "h100");
  config.accumulate = 3;
  const Planned three(config, "h100");
  const TimedStep step = timed_step(three.plan, 1);
  EXPECT_DOUBLE_EQ(kernel_seconds(step), kernel_seconds(timed_step(one.plan, 1)));
  EXPECT_DOUBLE_EQ(simulate(step).step, 3 * kernel_seconds(step) + step.update_seconds);
}

TEST(DevicePlan, UpdatesAShareOfTheWeights) {
  const Planned planned(imagenet("resnet-18", "mixed", 2), "h100");
  const double alone = timed_step(planned.plan, 1).update_seconds;
  constexpr double kPadding = 1.01;
  EXPECT_LT(timed_step(planned.plan, 8).update_seconds, kPadding * alone / 8);
  EXPECT_GE(timed_step(planned.plan, 8).update_seconds, alone / 8);
}

}  // namespace
}  // namespace minim::command
