#include "command/run_directory.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "checkpoint_file.h"
#include "minim/runtime/error.h"

namespace minim::command {

namespace fs = std::filesystem;

fs::path RunDirectory::choose(const RunConfig& config, std::chrono::system_clock::time_point now) {
  if (!config.output.empty()) return config.output;
  const std::time_t time = std::chrono::system_clock::to_time_t(now);
  return fs::path("runs") / fmt::format("{}-{}-{:%Y%m%d-%H%M%S}", config.model, config.dataset, fmt::localtime(time));
}

void RunDirectory::create() const {
  // A configuration alone is what a run leaves that could not start.
  for (const fs::path& result : {metrics_file(), path_ / "checkpoints"}) {
    if (!fs::exists(status_of(result))) continue;
    throw InvalidArgument(
        fmt::format("{} holds the results of a run: continue it with --resume, or choose another --output", path_.string()));
  }
  std::error_code error;
  fs::create_directories(path_, error);
  if (error) throw DataError(fmt::format("{}: cannot make the directory: {}", path_.string(), error.message()));
}

void RunDirectory::require_run() const {
  if (fs::exists(status_of(config_file()))) return;
  throw InvalidArgument(fmt::format("{} is not the directory of a run: it has no config.toml", path_.string()));
}

void RunDirectory::write_config(const std::string& toml) const {
  OutputFile file(config_file().string() + ".new");
  file.write(std::as_bytes(std::span(toml)));
  file.close();
  std::error_code failure;
  fs::rename(file.path(), config_file(), failure);
  check_system(failure, "rename to", config_file());
  sync_directory(path_);
}

std::string RunDirectory::read_config() const { return read_text(config_file()); }

}  // namespace minim::command
