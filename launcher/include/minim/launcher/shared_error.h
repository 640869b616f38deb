#pragma once

#include <exception>
#include <string>

#include "minim/comm/communicator.h"
#include "minim/runtime/error.h"

namespace minim {

/// What went wrong on one rank, in a form that can travel to the others.
struct RankError {
  enum class Kind : std::int32_t { none = 0, invalid_argument = 1, data = 2, device = 3, numeric = 4, other = 5 };
  Kind kind = Kind::none;
  std::string text;

  /// Of the exception that is being handled.
  static RankError current();
};

/// A DeviceError that all ranks have agreed on; any other is the business of the rank that has it alone.
class SharedDeviceError : public DeviceError {
  using DeviceError::DeviceError;
};

/// Throws on every rank what `rank` has in `error`, as "rank R: text" and of the same type, a DeviceError as SharedDeviceError.
/// Collective.
[[noreturn]] void throw_error_of(Communicator& communicator, int rank, const RankError& error);

/// Returns when no rank has an error; else throws, on every rank, the error of the first rank that has one. Collective: this is how
/// ranks leave a part of the program together in which any of them may have failed on its own.
void agree_on_errors(Communicator& communicator, const RankError& error);

}  // namespace minim
