#pragma once

#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "command/run_config.h"

namespace minim::command {

enum class Action : std::uint8_t { train, eval, plan, doctor, export_weights, inspect };

/// What the command line asks for.
struct Request {
  Action action = Action::train;
  RunConfig config;                    ///< train, plan: defaults, then --config, then the command line
  std::string config_file;             ///< train, plan; empty: none
  bool resume = false;                 ///< train
  std::filesystem::path run;           ///< eval, export, inspect
  std::filesystem::path file;          ///< export; eval: where logits go, empty: nowhere
  std::string dtype = "fp16";          ///< export
  std::int64_t step = 0;               ///< inspect; 0: all that were inspected
  std::filesystem::path csv, html;     ///< inspect; empty: none
  int ranks = 1;                       ///< plan
  bool operations = false;             ///< plan
  double network_gbit = 0;             ///< plan; 0: what is usual with the device
  std::vector<std::string> arguments;  ///< of the command, for applying them to another configuration
};

/// There is nothing to run: either help was asked for (exit code 0) or the command line is wrong (2).
class NothingToRun : public std::runtime_error {
 public:
  NothingToRun(const std::string& text, bool error) : std::runtime_error(text), is_error(error) {}
  bool is_error;
};

/// Parses `arguments` (without the program's name). Throws NothingToRun, or DataError for a configuration file.
Request parse_command_line(const std::vector<std::string>& arguments);

/// The configuration that `file` sets on top of `base`. Throws DataError that names file, line and key.
RunConfig apply_file(RunConfig base, const std::filesystem::path& file);
/// As apply_file, for text that came from `file`.
RunConfig apply_toml(RunConfig base, std::string_view text, const std::filesystem::path& file);

/// The configuration of a run with the options of a later command line on top.
RunConfig apply_arguments(RunConfig base, const Request& request);

}  // namespace minim::command
