#pragma once

#include <exception>

namespace minim::command {

/// What the process returns; job scripts act on it.
enum class ExitCode : int {
  finished = 0,
  other_error = 1,
  bad_input = 2,      ///< options, configuration, data or checkpoint files
  numeric = 3,        ///< gradients stay non-finite
  communication = 4,  ///< a rank failed or was silent
  preempted = 75,     ///< stopped and saved: continue with --resume
};

ExitCode exit_code_of(const std::exception& error);

}  // namespace minim::command
