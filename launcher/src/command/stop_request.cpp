#include "command/stop_request.h"

#include <atomic>
#include <csignal>

namespace minim::command {
namespace {

std::atomic<int> received_signal = 0;
static_assert(std::atomic<int>::is_always_lock_free);  // or a handler could not use it

extern "C" void note_signal(int signal) { received_signal = signal; }

}  // namespace

void install_stop_signals() {
  struct sigaction action = {};
  action.sa_handler = note_signal;
  action.sa_flags = SA_RESTART;  // system calls of libraries must not notice
  sigemptyset(&action.sa_mask);
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGUSR1, &action, nullptr);
}

StopRequest::StopRequest(std::optional<std::int64_t> allocation_end, double margin_seconds) {
  if (!allocation_end) return;
  const auto margin =
      std::chrono::duration_cast<std::chrono::system_clock::duration>(std::chrono::duration<double>(margin_seconds));
  stop_at_ = std::chrono::system_clock::time_point(std::chrono::seconds(*allocation_end)) - margin;
}

bool StopRequest::requested() const {
  return received_signal != 0 || (stop_at_ && std::chrono::system_clock::now() >= *stop_at_);
}

std::string StopRequest::reason() const {
  if (received_signal == SIGTERM) return "SIGTERM";
  if (received_signal == SIGUSR1) return "SIGUSR1";
  return requested() ? "the end of the allocation" : "";
}

}  // namespace minim::command
