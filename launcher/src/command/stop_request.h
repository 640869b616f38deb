#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace minim::command {

/// From here on SIGTERM and SIGUSR1 ask the run to stop instead of ending the process.
void install_stop_signals();

/// Whether this rank was asked to stop: by a signal, or because its allocation is about to end.
class StopRequest {
 public:
  /// `allocation_end`: seconds since 1970; the request is made `margin_seconds` before.
  StopRequest(std::optional<std::int64_t> allocation_end, double margin_seconds);
  bool requested() const;
  /// "SIGTERM", "SIGUSR1" or "the end of the allocation"; empty when nothing was requested here.
  std::string reason() const;

 private:
  std::optional<std::chrono::system_clock::time_point> stop_at_;
};

}  // namespace minim::command
