#include "command/exit_code.h"

#include "minim/runtime/error.h"

namespace minim::command {

ExitCode exit_code_of(const std::exception& error) {
  if (dynamic_cast<const InvalidArgument*>(&error) != nullptr) return ExitCode::bad_input;
  if (dynamic_cast<const DataError*>(&error) != nullptr) return ExitCode::bad_input;
  if (dynamic_cast<const NumericError*>(&error) != nullptr) return ExitCode::numeric;
  if (dynamic_cast<const CommError*>(&error) != nullptr) return ExitCode::communication;
  return ExitCode::other_error;
}

}  // namespace minim::command
