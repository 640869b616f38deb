#include <fmt/format.h>

#include "command/commands.h"
#include "command/device_survey.h"
#include "command/environment.h"
#include "command/experiment.h"
#include "command/run_length.h"
#include "command/step_figures.h"
#include "command/text.h"

namespace minim::command {
namespace {

constexpr std::int64_t kMnistTrainingImages = 60000;  // of both data sets, whose files need not be here

RunLength length_of(const RunConfig& config, int ranks) {
  const std::int64_t synthetic = config.samples > 0 ? config.samples : kSyntheticSamples;
  return {.dataset_size = config.dataset == "synthetic" ? synthetic : kMnistTrainingImages,
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
  row("state", [](const auto& f) { return format_bytes(f.state_bytes + f.optimizer.state_bytes); });
  row("input", [](const auto& f) { return format_bytes(f.plan.input_bytes); });
  row("staging", [](const auto& f) { return format_bytes(f.staging_bytes + f.optimizer.staging_bytes); });
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
  const RunConfig config = resolve(request.config);
  check_device(config.device);
  const auto backend = make_cpu_backend(threads_of_rank(config.threads, request.ranks));
  const std::int64_t total_steps = length_of(config, request.ranks).total_steps();
  const auto column = [&](const std::string& precision) {
    RunConfig as = config;
    as.precision = precision;
    as.loss_scale = "auto";
    return figures_of(resolve(as), image_task(config), request.ranks, *backend, total_steps);
  };
  std::vector<StepFigures> columns = {column("fp32"), column("mixed")};
  if (config.precision != "fp32" && config.precision != "mixed") columns.push_back(column(config.precision));
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
