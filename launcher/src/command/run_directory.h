#pragma once

#include <chrono>
#include <filesystem>
#include <string>

#include "command/run_config.h"

namespace minim::command {

/// The directory of a run: config.toml, metrics.jsonl, checkpoints/, and, where they are asked for, trace.json, inspection.jsonl
/// and TensorBoard's events.
class RunDirectory {
 public:
  explicit RunDirectory(std::filesystem::path path) : path_(std::move(path)) {}

  /// --output, or runs/MODEL-DATASET-DATE-TIME.
  static std::filesystem::path choose(const RunConfig& config, std::chrono::system_clock::time_point now);

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path config_file() const { return path_ / "config.toml"; }
  std::filesystem::path metrics_file() const { return path_ / "metrics.jsonl"; }
  std::filesystem::path trace_file() const { return path_ / "trace.json"; }
  std::filesystem::path inspection_file() const { return path_ / "inspection.jsonl"; }

  /// Makes the directory. Throws InvalidArgument when it holds results already, DataError when it cannot be made.
  void create() const;
  /// Throws InvalidArgument when there is no run here.
  void require_run() const;
  /// Throws DataError.
  void write_config(const std::string& toml) const;
  std::string read_config() const;

 private:
  std::filesystem::path path_;
};

}  // namespace minim::command
