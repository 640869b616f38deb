#include <fmt/format.h>

#include "command/commands.h"
#include "command/experiment.h"
#include "command/text.h"
#include "minim/comm/buckets.h"

namespace minim::command {
namespace {

/// What one step of one rank needs and does, in one precision.
struct StepFigures {
  std::string precision;
  OptimizerMemory optimizer;
  PlanMemory plan;
  std::int64_t state_bytes = 0;
  std::int64_t total_bytes = 0;
  double flops = 0;  ///< of all micro-batches
  std::int64_t gradient_message_bytes = 0, weight_message_bytes = 0;
  std::int64_t parameters = 0;
  std::vector<OperationCost> costs;  ///< of one micro-batch
};

std::int64_t state_bytes(const Model& model) {
  std::int64_t elements = 0;
  for (const auto& state : model.states()) elements += state->shape.elements();
  return 2 * elements * size_bytes(DType::fp32);  // committed and pending
}

StepFigures figures_of(RunConfig config, const std::string& precision, int ranks) {
  config.precision = precision;
  config.loss_scale = "auto";
  config = resolve(config);
  Network network(config, image_task(config));
  const auto backend = make_cpu_backend(1);
  const double nominal_weight = static_cast<double>(config.batch * config.accumulate);
  const auto plan =
      Plan::compile(network.training, *backend,
                    {.precision = parse_precision(precision), .batch = config.batch, .nominal_weight = nominal_weight});
  const auto parameters = network.parameters();
  OptimizerConfig optimizer = optimizer_config(config, /*total_steps=*/1);
  optimizer.schedule = {};  // of a run whose length is not known here
  const auto evaluation =
      Plan::compile(network.evaluation, *backend, {.precision = parse_precision(precision), .batch = config.batch});
  StepFigures figures;
  figures.precision = precision;
  figures.optimizer = optimizer_memory(parameters, ranks, optimizer);
  figures.plan = plan->memory();
  figures.plan.input_bytes += evaluation->memory().input_bytes;  // the rest of it lies in the training plan's arena
  figures.state_bytes = state_bytes(network.model);
  figures.parameters = network.model.parameter_count();
  figures.costs = plan->costs();
  for (const OperationCost& cost : figures.costs) figures.flops += cost.flops * static_cast<double>(config.accumulate);
  for (const Bucket& bucket : plan_buckets(parameters, compute_dtype(optimizer.precision), ranks, optimizer.buckets)) {
    figures.gradient_message_bytes += bucket.elements * size_bytes(bucket.dtype);
  }
  figures.weight_message_bytes = config.shard ? figures.gradient_message_bytes : 0;
  const OptimizerMemory& memory = figures.optimizer;
  figures.total_bytes = memory.weights_bytes + memory.master_weights_bytes + memory.moments_bytes + memory.gradients_bytes +
                        memory.workspace_bytes + figures.plan.activations_bytes + figures.plan.workspace_bytes +
                        figures.plan.input_bytes + figures.state_bytes;
  return figures;
}

/// Bytes that a rank sends in a step at least: what ring algorithms move.
double sent_bytes(const StepFigures& figures, const RunConfig& config, int ranks) {
  const double share = static_cast<double>(ranks - 1) / ranks;
  const double passes = config.grad_sync == "all-reduce" ? 2 : 1;
  return share *
         (passes * static_cast<double>(figures.gradient_message_bytes) + static_cast<double>(figures.weight_message_bytes));
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
  row("workspace", [](const auto& f) { return format_bytes(f.plan.workspace_bytes + f.optimizer.workspace_bytes); });
  row("state", [](const auto& f) { return format_bytes(f.state_bytes); });
  row("input", [](const auto& f) { return format_bytes(f.plan.input_bytes); });
  table.rule();
  row("memory", [](const auto& f) { return format_bytes(f.total_bytes); });
  const double baseline = static_cast<double>(columns.front().total_bytes);
  row("of fp32", [&](const auto& f) { return fmt::format("{:.2f}", static_cast<double>(f.total_bytes) / baseline); });
  table.rule();
  row("FLOPs per step", [](const auto& f) { return format_magnitude(f.flops); });
  row("sent per step", [&](const auto& f) { return format_bytes(static_cast<std::int64_t>(sent_bytes(f, config, ranks))); });
  fmt::print("{}", table.to_string());
}

void print_operations(const StepFigures& figures) {
  TextTable table({"operation", "type", "pass", "kernels", "FLOPs", "bytes"});
  for (const std::size_t column : {1U, 2U, 3U}) table.align_left(column);
  for (const OperationCost& cost : figures.costs) {
    table.add({cost.name, cost.type, cost.backward ? "backward" : "forward", cost.kernel_set, format_magnitude(cost.flops),
               format_bytes(cost.bytes)});
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

}  // namespace

ExitCode plan(const Request& request) {
  RunConfig config = resolve(request.config);
  std::vector<StepFigures> columns = {figures_of(config, "fp32", request.ranks), figures_of(config, "mixed", request.ranks)};
  if (config.precision != "fp32" && config.precision != "mixed")
    columns.push_back(figures_of(config, config.precision, request.ranks));
  const ImageTask task = image_task(config);
  fmt::print("{}: {} parameters, {} x {} x {} pixels, {} classes, {} samples per rank and step, {} rank{}\n\n", config.model,
             columns.front().parameters, task.height, task.width, task.channels, task.classes, config.batch * config.accumulate,
             request.ranks, request.ranks > 1 ? "s" : "");
  print_table(columns, config, request.ranks);
  for (const StepFigures& figures : columns) print_fallbacks(figures);
  if (request.operations) {
    for (const StepFigures& figures : columns) {
      if (figures.precision == config.precision) print_operations(figures);
    }
  }
  return ExitCode::finished;
}

}  // namespace minim::command
