#include <fmt/format.h>

#include <ranges>

#include "command/commands.h"
#include "command/run_directory.h"
#include "command/text.h"
#include "minim/launcher/checkpoint.h"

namespace minim::command {
namespace {

/// All checkpoints of a run, newest first; those that cannot be used are reported through `refused`.
struct Checkpoints {
  std::vector<CheckpointInfo> sound;
  std::vector<std::string> refused;
};

Checkpoints read_all(const std::filesystem::path& run) {
  if (!std::filesystem::is_directory(run)) throw DataError(fmt::format("{}: no such directory", run.string()));
  Checkpoints result;
  for (const auto& path : std::views::reverse(list_checkpoints(run))) {
    try {
      result.sound.push_back(read_checkpoint_info(path));
    } catch (const DataError& error) {
      result.refused.push_back(error.what());
    }
  }
  if (result.sound.empty() && result.refused.empty()) throw DataError(fmt::format("{} has no checkpoint", run.string()));
  return result;
}

const CheckpointInfo& newest(const Checkpoints& checkpoints, const std::filesystem::path& run) {
  if (checkpoints.sound.empty()) throw DataError(fmt::format("{} has no sound checkpoint: {}", run.string(), checkpoints.refused.front()));
  return checkpoints.sound.front();
}

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
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file()) total += static_cast<std::int64_t>(entry.file_size());
  }
  return total;
}

}  // namespace

ExitCode inspect(const Request& request) {
  const Checkpoints checkpoints = read_all(request.run);
  TextTable table({"checkpoint", "step", "applied", "skipped", "samples", "loss scale", "precision", "ranks", "size"});
  for (const CheckpointInfo& info : checkpoints.sound) {
    table.add({info.directory.filename().string(), fmt::format("{}", info.step), fmt::format("{}", info.applied),
               fmt::format("{}", info.step - info.applied), fmt::format("{}", info.data_position), fmt::format("{:g}", info.loss_scale),
               info.precision, fmt::format("{}", info.world_size), format_bytes(size_on_disk_bytes(info.directory))});
  }
  fmt::print("{}", table.to_string());
  for (const std::string& sentence : checkpoints.refused) fmt::print("damaged: {}\n", sentence);
  if (checkpoints.sound.empty()) return ExitCode::bad_input;
  print_tensors(checkpoints.sound.front());
  fmt::print("\n{}", checkpoints.sound.front().model_configuration);
  return ExitCode::finished;
}

ExitCode export_weights(const Request& request) {
  const Checkpoints checkpoints = read_all(request.run);
  for (const std::string& sentence : checkpoints.refused) fmt::print(stderr, "minim: passed over: {}\n", sentence);
  const CheckpointInfo& info = newest(checkpoints, request.run);
  export_safetensors(info, request.file, request.dtype == "fp32" ? DType::fp32 : DType::fp16);
  fmt::print("{}: weights of step {}, {}, {}\n", request.file.string(), info.step, request.dtype,
             format_bytes(static_cast<std::int64_t>(std::filesystem::file_size(request.file))));
  return ExitCode::finished;
}

}  // namespace minim::command
