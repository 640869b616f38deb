#include "command/device_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "command/interconnect.h"
#include "command/roofline.h"
#include "command/text.h"
#include "minim/runtime/cuda.h"

namespace minim::command {
namespace {

/// Work of several kernels.
struct Work {
  double flops = 0, traffic_bytes = 0, seconds = 0;
  int kernels = 0, compute_bound = 0;

  void add(const Work& other) {
    flops += other.flops;
    traffic_bytes += other.traffic_bytes;
    seconds += other.seconds;
    kernels += other.kernels;
    compute_bound += other.compute_bound;
  }
};

Precision precision_of(const DevicePlan& plan) { return parse_precision(plan.config.precision); }

/// In all micro-batches of a step.
Work work_of(const DevicePlan& plan, const OperationCost& cost) {
  const LeastTime time = least_time(cost, precision_of(plan), plan.gpu);
  const auto times = static_cast<double>(plan.config.accumulate);
  return {.flops = times * cost.flops,
          .traffic_bytes = times * static_cast<double>(cost.bytes),
          .seconds = times * time.seconds,
          .kernels = 1,
          .compute_bound = time.is_compute_bound ? 1 : 0};
}

/// Check and update move several numbers for each operation: no device computes them as slowly as it moves them.
Work update_work(const DevicePlan& plan, int ranks) {
  const auto parameters = plan.network.parameters();
  const auto traffic =
      static_cast<double>(update_traffic_bytes(parameters, ranks, optimizer_config(plan.config, plan.total_steps)));
  return {.traffic_bytes = traffic, .seconds = traffic / plan.gpu.memory_bandwidth};
}

void print_memory(const DevicePlan& plan, std::int64_t largest_batch) {
  const PlanMemory& memory = plan.figures.plan;
  const std::int64_t needed = plan.figures.device_bytes();
  const bool fits = needed <= plan.gpu.memory_bytes;
  if (fits) largest_batch = std::max(largest_batch, plan.config.batch);  // which was sought with the largest workspaces
  fmt::print("\n{} (sm_{}) has {}. A rank in {} takes {} of it, beside what CUDA and NCCL keep:\nit {}; {}.\n",
             plan.gpu.full_name, plan.gpu.capability, format_bytes(plan.gpu.memory_bytes), plan.figures.precision,
             format_bytes(needed), fits ? "fits" : "does not fit",
             largest_batch > 0 ? fmt::format("the largest batch that does is {}", largest_batch) : "no batch does");
  if (!plan.lacking.empty()) {
    fmt::print("Workspaces are unknown and taken for {} at most: {}.\n", format_bytes(kMostCudaWorkspaceBytes), plan.lacking);
    return;
  }
  if (memory.unknown_workspace_bytes > 0) {
    fmt::print("Some workspaces are unknown without the device: they add {} at most, which is counted here.\n",
               format_bytes(memory.unknown_workspace_bytes));
  }
  if (!has_cuda_driver()) {
    fmt::print(
        "cuDNN has planned without a driver, so without engines that it compiles at run time: the device may choose these.\n");
  }
}

void print_roofline(const DevicePlan& plan, int ranks) {
  const GpuModel& gpu = plan.gpu;
  const double products = precision_of(plan) == Precision::fp32 ? gpu.fp32_flops : gpu.tensor_flops;
  fmt::print(
      "\nLeast time of a step in {}: a lower bound, not a prediction. Each kernel takes as long as its FLOPs at {}FLOP/s\n"
      "({}FLOP/s for convolutions and products) or its tensors, each moved once through memory, at {}B/s.\n"
      "Launches, waits, and what kernels fall short of these peaks come on top; only what stays in caches takes less.\n",
      plan.figures.precision, format_magnitude(gpu.fp32_flops), format_magnitude(products),
      format_magnitude(gpu.memory_bandwidth));
  TextTable table({"operations", "kernels", "compute-bound", "FLOPs", "bytes", "time"});
  const auto row = [&table](const std::string& name, const Work& work, bool counts_kernels) {
    const auto count = [&](int n) { return counts_kernels ? fmt::format("{}", n) : std::string(); };
    table.add({name, count(work.kernels), count(work.compute_bound), format_magnitude(work.flops),
               format_bytes(static_cast<std::int64_t>(work.traffic_bytes)), format_seconds(work.seconds)});
  };
  Work step;
  for (const bool backward : {false, true}) {
    std::map<std::string, Work> of_type;
    Work pass;
    for (const OperationCost& cost : plan.figures.costs) {
      if (cost.backward != backward) continue;
      const Work work = work_of(plan, cost);
      of_type[cost.type].add(work);
      pass.add(work);
    }
    for (const auto& [type, work] : of_type) row("  " + type, work, true);
    row(backward ? "backward" : "forward", pass, true);
    step.add(pass);
  }
  const Work update = update_work(plan, ranks);
  row("update", update, false);
  step.add(update);
  table.rule();
  row("step", step, false);
  fmt::print("\n{}at best {:.0f} images/s per rank, before communication\n", table.to_string(),
             static_cast<double>(plan.config.batch * plan.config.accumulate) / step.seconds);
}

/// Of one bucket, as ShardedOptimizer reduces and gathers it.
TimedBucket timed_bucket(const Bucket& bucket, const RunConfig& config, const Interconnect& interconnect, int ranks) {
  const std::int64_t message_bytes = bucket.elements * size_bytes(bucket.dtype);
  const double ring = ring_seconds(interconnect, ranks, message_bytes);
  TimedBucket timed{
      .gradients = static_cast<int>(bucket.entries.size()), .gather_seconds = config.shard ? ring : 0, .reduction_seconds = ring};
  const GradSync sync = parse_grad_sync(config.grad_sync);
  if (sync == GradSync::all_reduce) timed.reduction_seconds = 2 * ring;
  if (sync == GradSync::fp32_accumulate && bucket.dtype != DType::fp32) {
    timed.reduction_seconds = exchange_seconds(interconnect, ranks, message_bytes);
  }
  return timed;
}

/// Communication that is not in the figures, where there is some.
std::string left_out(const DevicePlan& plan) {
  const auto gatherings = std::ranges::count(plan.figures.costs, "AllGather", &OperationCost::kernel);
  if (gatherings == 0) return {};
  return fmt::format(" Not in it are {} gatherings of small tensors, at each of which ranks wait.",
                     gatherings * plan.config.accumulate);
}

void print_overlap(const DevicePlan& plan, int ranks) {
  const Interconnect links = interconnect_of(plan.gpu, plan.network_gbit);
  fmt::print(
      "\nCommunication under kernels of these times. Assumed are nodes of {} GPUs with {}B/s by {} in one direction,\n"
      "{:.0f} Gbit/s of network for each GPU, rings in and between nodes, and NCCL's latencies of their steps, {} and {}.\n"
      "Kernels that are slower hide more.{}\n",
      links.node_size, format_magnitude(links.node.bandwidth), plan.gpu.has_nvlink ? "NVLink" : "PCIe", plan.network_gbit,
      format_seconds(links.node.step_latency), format_seconds(links.network.step_latency), left_out(plan));
  TextTable table(
      {"ranks", plan.config.grad_sync, "hidden", "exposed", "hidden share", "weights' gather", "exposed", "step", "images/s"});
  std::set<int> sizes = {8, 64, 512};
  if (ranks > 1) sizes.insert(ranks);
  for (const int size : sizes) {
    const Overlap overlap = simulate(timed_step(plan, size));
    table.add({fmt::format("{}", size), format_seconds(overlap.reduction),
               format_seconds(overlap.reduction - overlap.exposed_reduction), format_seconds(overlap.exposed_reduction),
               fmt::format("{:.0f} %", 100 * overlap.hidden_share()), format_seconds(overlap.gather),
               format_seconds(overlap.exposed_gather), format_seconds(overlap.step),
               format_magnitude(static_cast<double>(plan.config.batch * plan.config.accumulate * size) / overlap.step)});
  }
  fmt::print("\n{}", table.to_string());
}

}  // namespace

TimedStep timed_step(const DevicePlan& plan, int ranks) {
  const RunConfig& config = plan.config;
  const Interconnect interconnect = interconnect_of(plan.gpu, plan.network_gbit);
  const auto parameters = plan.network.parameters();
  const OptimizerConfig optimizer = optimizer_config(config, plan.total_steps);
  TimedStep step;
  std::map<const Parameter*, int> bucket_of;
  for (const Bucket& bucket : plan_buckets(parameters, compute_dtype(precision_of(plan)), ranks, optimizer.buckets)) {
    for (const BucketEntry& entry : bucket.entries) bucket_of[entry.parameter] = static_cast<int>(step.buckets.size());
    step.buckets.push_back(timed_bucket(bucket, config, interconnect, ranks));
  }
  double micro_batch_seconds = 0;
  for (const OperationCost& cost : plan.figures.costs) {
    TimedKernel kernel{.seconds = least_time(cost, precision_of(plan), plan.gpu).seconds, .buckets = {}};
    for (const Parameter* parameter : cost.backward ? cost.gradient_ready : cost.used_first) {
      kernel.buckets.push_back(bucket_of.at(parameter));
    }
    micro_batch_seconds += kernel.seconds;
    (cost.backward ? step.backward : step.forward).push_back(std::move(kernel));
  }
  step.micro_batches_between_seconds = static_cast<double>(config.accumulate - 1) * micro_batch_seconds;
  step.agreement_seconds = ring_seconds(interconnect, ranks, 0);  // some bytes of each rank
  step.update_seconds = update_work(plan, ranks).seconds;
  return step;
}

void print_device_plan(const DevicePlan& plan, std::int64_t largest_batch, int ranks) {
  print_memory(plan, largest_batch);
  print_roofline(plan, ranks);
  print_overlap(plan, ranks);
}

}  // namespace minim::command
