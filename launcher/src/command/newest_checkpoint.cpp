#include "command/newest_checkpoint.h"

#include <fmt/format.h>

#include <ranges>

#include "checkpoint_file.h"

namespace minim::command {

std::optional<CheckpointInfo> newest_checkpoint(const std::filesystem::path& run, std::vector<std::string>& refused,
                                                const AtWork& at_work) {
  for (const auto& path : std::views::reverse(list_checkpoints(run))) {
    try {
      return read_checkpoint_info(path, at_work);
    } catch (const DataError& error) {
      refused.emplace_back(error.what());
    }
  }
  if (!refused.empty()) throw DataError(fmt::format("{} has no sound checkpoint: {}", run.string(), refused.front()));
  return {};
}

CheckpointInfo require_checkpoint(const std::filesystem::path& run, bool report, const AtWork& at_work) {
  if (!std::filesystem::is_directory(status_of(run))) throw DataError(fmt::format("{}: no such directory", run.string()));
  std::vector<std::string> refused;
  auto info = newest_checkpoint(run, refused, at_work);
  if (!info) throw DataError(fmt::format("{} has no checkpoint", run.string()));
  for (const std::string& sentence : refused) {
    if (report) fmt::print(stderr, "minim: passed over: {}\n", sentence);
  }
  return *std::move(info);
}

}  // namespace minim::command
