#include <fmt/format.h>

#include <algorithm>
#include <ranges>
#include <span>

#include "checkpoint_file.h"
#include "command/commands.h"
#include "command/inspection_report.h"
#include "command/newest_checkpoint.h"
#include "command/run_directory.h"
#include "command/text.h"

namespace minim::command {
namespace {

void print_tensors(const CheckpointInfo& info) {
  TextTable table({"tensor", "type", "shape", "elements"});
  table.align_left(1);
  table.align_left(2);
  std::int64_t total = 0;
  for (const CheckpointTensor& tensor : info.tensors) {
    table.add({tensor.name, tensor.dtype, tensor.shape.to_string(), fmt::format("{}", tensor.shape.elements())});
    total += tensor.shape.elements();
  }
  table.rule();
  table.add({fmt::format("{} tensors", info.tensors.size()), "", "", fmt::format("{}", total)});
  fmt::print("\n{}", table.to_string());
}

std::int64_t size_on_disk_bytes(const std::filesystem::path& directory) {
  std::int64_t total = 0;
  std::error_code failure;
  std::filesystem::directory_iterator entry(directory, failure);
  while (!failure && entry != std::filesystem::directory_iterator()) {
    const bool is_file = entry->is_regular_file(failure);
    if (is_file && !failure) total += static_cast<std::int64_t>(entry->file_size(failure));
    if (!failure) entry.increment(failure);
  }
  check_system(failure, "list", directory);
  return total;
}

std::vector<std::string> summary(const CheckpointInfo& info) {
  return {info.directory.filename().string(),
          fmt::format("{}", info.step),
          fmt::format("{}", info.applied),
          fmt::format("{}", info.step - info.applied),
          fmt::format("{}", info.data_position),
          fmt::format("{:g}", info.loss_scale),
          info.precision,
          fmt::format("{}", info.world_size),
          format_bytes(size_on_disk_bytes(info.directory))};
}

void print_checkpoints(const std::filesystem::path& run) {
  const CheckpointInfo newest = require_checkpoint(run, /*report=*/false);
  TextTable table({"checkpoint", "step", "applied", "skipped", "samples", "loss scale", "precision", "ranks", "size"});
  std::vector<std::string> damaged;
  for (const auto& path : std::views::reverse(list_checkpoints(run))) {
    try {
      table.add(summary(read_checkpoint_info(path)));
    } catch (const DataError& error) {
      damaged.emplace_back(error.what());
    }
  }
  fmt::print("{}", table.to_string());
  for (const std::string& sentence : damaged) fmt::print("damaged: {}\n", sentence);
  print_tensors(newest);
  fmt::print("\n{}", newest.model_configuration);
}

/// What --inspect has recorded, up to the step that is asked for.
InspectionReport read_report(const Request& request) {
  const RunDirectory directory(request.run);
  InspectionReport report{.run = request.run.string(),
                          .inspections = read_inspections(directory.inspection_file()),
                          .skips = Metrics::skips(directory.metrics_file())};
  if (report.inspections.empty()) throw DataError(fmt::format("{}: holds no inspection", directory.inspection_file().string()));
  if (request.step == 0) return report;
  const auto found = std::ranges::find(report.inspections, request.step, &Inspection::step);
  if (found == report.inspections.end()) {
    std::vector<std::int64_t> steps;
    for (const Inspection& inspection : report.inspections) steps.push_back(inspection.step);
    throw InvalidArgument(fmt::format("--step {}: was not inspected, these were: {}", request.step, fmt::join(steps, ", ")));
  }
  report.inspections = {*found};
  std::erase_if(report.skips, [&](const Metrics::Skip& skip) { return skip.step != request.step; });
  return report;
}

void write(const std::filesystem::path& path, const std::string& text) {
  OutputFile file(path);
  file.write(std::as_bytes(std::span(text)));
  file.close();
  fmt::print("{}: {}\n", path.string(), format_bytes(static_cast<std::int64_t>(text.size())));
}

}  // namespace

ExitCode inspect(const Request& request) {
  const bool wants_report = request.step != 0 || !request.csv.empty() || !request.html.empty();
  const bool has_report = std::filesystem::is_directory(status_of(request.run)) &&
                          std::filesystem::exists(status_of(RunDirectory(request.run).inspection_file()));
  if (wants_report && !has_report) {
    throw InvalidArgument(fmt::format("{} was not trained with --inspect: it has no inspection.jsonl", request.run.string()));
  }
  if (!has_report) {
    print_checkpoints(request.run);
    return ExitCode::finished;
  }
  const InspectionReport report = read_report(request);
  if (!request.csv.empty()) write(request.csv, to_csv(report));
  if (!request.html.empty()) write(request.html, to_html(report));
  if (request.csv.empty() && request.html.empty()) fmt::print("{}", to_text(report));
  if (!wants_report && !list_checkpoints(request.run).empty()) {
    fmt::print("\n");
    print_checkpoints(request.run);
  }
  return ExitCode::finished;
}

ExitCode export_weights(const Request& request) {
  const CheckpointInfo info = require_checkpoint(request.run, /*report=*/true);
  export_safetensors(info, request.file, request.dtype == "fp32" ? DType::fp32 : DType::fp16);
  fmt::print("{}: weights of step {}, {}, {}\n", request.file.string(), info.step, request.dtype,
             format_bytes(InputFile(request.file).size_bytes()));
  return ExitCode::finished;
}

}  // namespace minim::command
