#pragma once

#include <cstdint>

namespace minim::detail {

/// A process as others on its machine can recognise it. All zero: unknown, or a thread of this process.
struct ProcessId {
  std::int64_t pid = 0;
  std::uint64_t start_time = 0;     ///< tells a process from a later one with the same number
  std::uint64_t pid_namespace = 0;  ///< numbers mean the same within one namespace only

  static ProcessId self();
  /// Whether this process can look up `other` by its number.
  bool sees(const ProcessId& other) const { return pid != 0 && other.pid != 0 && pid_namespace == other.pid_namespace; }
};

/// True when the process has ended, zombies included. Only for processes that this one `sees`.
bool has_ended(const ProcessId& process);

}  // namespace minim::detail
