#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "command/commands.h"
#include "command/data_outline.h"
#include "command/device_plan.h"
#include "command/device_survey.h"
#include "command/environment.h"
#include "command/experiment.h"
#include "command/roofline.h"
#include "command/run_length.h"
#include "command/step_figures.h"
#include "command/text.h"
#include "minim/runtime/cuda.h"

namespace minim::command {
namespace {

RunLength length_of(const RunConfig& config, int ranks) {
  return {.dataset_size = outline_of(config).training_images,
          .global_batch = config.batch * config.accumulate * ranks,
          .epochs = config.epochs,
          .steps = config.steps};
}

/// Bytes that a rank sends in a step at least: what ring algorithms move.
double sent_bytes(const StepFigures& figures, const RunConfig& config, int ranks) {
  const double share = static_cast<double>(ranks - 1) / ranks;
  const double passes = config.grad_sync == "all-reduce" ? 2 : 1;
  return share *
         (passes * static_cast<double>(figures.gradient_message_bytes) + static_cast<double>(figures.weight_message_bytes));
}

/// Bytes to which unknown workspaces come, where there are any.
std::string at_least(std::int64_t size_bytes, const StepFigures& figures) {
  return (figures.plan.unknown_workspace_bytes > 0 ? "at least " : "") + format_bytes(size_bytes);
}

void print_table(const std::vector<StepFigures>& columns, const RunConfig& config, int ranks) {
  std::vector<std::string> header = {"per rank"};
  for (const auto& figures : columns) header.push_back(figures.precision);
  TextTable table(header);
  const auto row = [&](const char* title, auto&& cell) {
    std::vector<std::string> cells = {title};
    for (const auto& figures : columns) cells.push_back(cell(figures));
    table.add(cells);
  };
  row("weights", [](const auto& f) { return format_bytes(f.optimizer.weights_bytes); });
  row("master weights", [](const auto& f) { return format_bytes(f.optimizer.master_weights_bytes); });
  row("moments", [](const auto& f) { return format_bytes(f.optimizer.moments_bytes); });
  row("gradients", [](const auto& f) { return format_bytes(f.optimizer.gradients_bytes); });
  row("activations", [](const auto& f) { return format_bytes(f.plan.activations_bytes); });
  row("workspace", [](const auto& f) {
    const std::int64_t known = f.plan.workspace_bytes - f.plan.unknown_workspace_bytes + f.optimizer.workspace_bytes;
    return at_least(known, f);
  });
  row("state", [](const auto& f) { return format_bytes(f.state_bytes + f.optimizer.state_bytes); });
  row("input", [](const auto& f) { return format_bytes(f.plan.input_bytes); });
  row("staging", [](const auto& f) { return format_bytes(f.staging_bytes + f.optimizer.staging_bytes); });
  table.rule();
  row("memory", [](const auto& f) { return at_least(f.total_bytes - f.plan.unknown_workspace_bytes, f); });
  const double baseline = static_cast<double>(columns.front().total_bytes);
  row("of fp32", [&](const auto& f) { return fmt::format("{:.2f}", static_cast<double>(f.total_bytes) / baseline); });
  table.rule();
  row("FLOPs per step", [](const auto& f) { return format_magnitude(f.flops); });
  row("sent per step", [&](const auto& f) { return format_bytes(static_cast<std::int64_t>(sent_bytes(f, config, ranks))); });
  fmt::print("{}", table.to_string());
}

/// `gpu`: null where there is none to tell times of.
void print_operations(const StepFigures& figures, const GpuModel* gpu) {
  std::vector<std::string> header = {"operation", "type", "pass", "kernels", "FLOPs", "bytes"};
  if (gpu != nullptr) header.insert(header.end(), {"workspace", "time", "bound"});
  TextTable table(header);
  for (const std::size_t column : {1U, 2U, 3U, 8U}) table.align_left(column);
  for (const OperationCost& cost : figures.costs) {
    std::vector<std::string> row = {cost.name,
                                    cost.type,
                                    cost.backward ? "backward" : "forward",
                                    cost.kernel_set,
                                    format_magnitude(cost.flops),
                                    format_bytes(cost.bytes)};
    if (gpu != nullptr) {
      const LeastTime time = least_time(cost, parse_precision(figures.precision), *gpu);
      row.push_back(cost.workspace.is_known ? format_bytes(cost.workspace.size_bytes) : "unknown");
      row.push_back(format_seconds(time.seconds));
      row.push_back(time.is_compute_bound ? "compute" : "memory");
    }
    table.add(row);
  }
  fmt::print("\n{}, one micro-batch:\n{}", figures.precision, table.to_string());
}

void print_fallbacks(const StepFigures& figures) {
  const auto slow =
      std::count_if(figures.costs.begin(), figures.costs.end(), [](const auto& cost) { return cost.kernel_set == "reference"; });
  if (slow == 0) return;
  fmt::print("{}: {} of {} kernels have no fast form and fall back to reference loops (--operations lists them)\n",
             figures.precision, slow, figures.costs.size());
}

/// What plans are compiled for, and why it tells no workspaces where it does not.
struct Planner {
  std::unique_ptr<Backend> backend;
  std::string lacking;
};

Planner planner_for(const GpuModel* gpu, const RunConfig& config, int ranks) {
  if (gpu == nullptr) return {.backend = make_cpu_backend(threads_of_rank(config.threads, ranks)), .lacking = {}};
  try {
    return {.backend = make_cuda_planning_backend(*gpu), .lacking = {}};
  } catch (const DeviceError& error) {
    return {.backend = make_planning_backend_without_cuda(), .lacking = error.what()};
  }
}

/// Workspaces that the device's kernels may want at most, in place of those of another backend.
void forget_workspaces(StepFigures& figures) {
  figures.total_bytes += kMostCudaWorkspaceBytes - figures.plan.workspace_bytes;
  figures.plan.workspace_bytes = figures.plan.unknown_workspace_bytes = kMostCudaWorkspaceBytes;
  for (OperationCost& cost : figures.costs) {
    cost.kernel_set = "cuda";
    cost.workspace.is_known = false;
  }
}

/// The largest batch whose rank takes at most `most_bytes` of a device; 0 when none does.
std::int64_t largest_batch(const std::function<std::int64_t(std::int64_t batch)>& needed_bytes, std::int64_t most_bytes) {
  constexpr std::int64_t kLargest = 1 << 20;  // that --batch takes
  std::int64_t fits = 0, too_large = 1;
  while (too_large <= kLargest && needed_bytes(too_large) <= most_bytes) {
    fits = too_large;
    too_large *= 2;
  }
  while (too_large - fits > 1) {
    const std::int64_t middle = (fits + too_large) / 2;
    (needed_bytes(middle) <= most_bytes ? fits : too_large) = middle;
  }
  return std::min(fits, kLargest);
}

/// That --device names; null where it says where to compute.
const GpuModel* gpu_of(const Request& request) {
  const RunConfig& config = request.config;
  const GpuModel* gpu = find_gpu_model(config.device);
  if (gpu == nullptr) check_device(config.device);
  if (gpu == nullptr && request.network_gbit > 0) throw InvalidArgument("--network wants a --device that names a GPU");
  if (gpu != nullptr && config.precision == "bf16" && !gpu->has_bf16()) {
    throw InvalidArgument(fmt::format("--device {} computes nothing in bf16: choose another --precision", config.device));
  }
  return gpu;
}

}  // namespace

ExitCode plan(const Request& request) {
  const RunConfig config = resolve(request.config);
  const GpuModel* const gpu = gpu_of(request);
  const Planner planner = planner_for(gpu, config, request.ranks);
  const std::int64_t total_steps = length_of(config, request.ranks).total_steps();
  const ImageTask task = outline_of(config).task;
  const Network network(config, task);
  const auto column = [&](const std::string& precision) {
    RunConfig as = config;
    as.precision = precision;
    as.loss_scale = "auto";
    StepFigures figures = figures_of(resolve(as), network, task, request.ranks, *planner.backend, total_steps);
    if (!planner.lacking.empty()) forget_workspaces(figures);
    return figures;
  };
  std::vector<StepFigures> columns = {column("fp32"), column("mixed")};
  if (config.precision != "fp32" && config.precision != "mixed") columns.push_back(column(config.precision));
  fmt::print("{}: {} parameters, {} x {} x {} pixels, {} classes, {} samples per rank and step, {} rank{}\n\n", config.model,
             columns.front().parameters, task.height, task.width, task.channels, task.classes, config.batch * config.accumulate,
             request.ranks, request.ranks > 1 ? "s" : "");
  print_table(columns, config, request.ranks);
  if (gpu == nullptr) {
    for (const StepFigures& figures : columns) print_fallbacks(figures);
  }
  const StepFigures& figures = *std::ranges::find(columns, config.precision, &StepFigures::precision);
  if (gpu != nullptr) {
    // Sizes of other batches are those with the largest workspaces, which take no time to ask for.
    const auto backend = make_planning_backend_without_cuda();
    const auto needed_bytes = [&](std::int64_t batch) {
      RunConfig with = config;
      with.batch = batch;
      StepFigures sizes = figures_of(with, network, task, request.ranks, *backend, total_steps);
      forget_workspaces(sizes);
      return sizes.device_bytes();
    };
    print_device_plan({.gpu = *gpu,
                       .network = network,
                       .config = config,
                       .figures = figures,
                       .network_gbit = request.network_gbit > 0 ? request.network_gbit : gpu->network_gbit,
                       .total_steps = total_steps,
                       .lacking = planner.lacking},
                      largest_batch(needed_bytes, gpu->memory_bytes), request.ranks);
  }
  if (request.operations) print_operations(figures, gpu);
  return ExitCode::finished;
}

}  // namespace minim::command
