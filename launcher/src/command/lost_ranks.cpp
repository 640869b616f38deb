#include "command/lost_ranks.h"

#include <fmt/format.h>

#include <cstdlib>
#include <thread>

#include "command/exit_code.h"

namespace minim::command {
namespace {

// Survivors notice the same loss at about the same time; the first to leave makes mpirun end the others.
constexpr std::chrono::milliseconds kGrace{800};

[[noreturn]] void leave(int rank, const std::string& reason, ExitCode code) {
  std::fflush(stdout);
  fmt::print(stderr, "minim: rank {}: {}\n", rank, reason);
  std::fflush(stderr);
  std::this_thread::sleep_for(kGrace);
  std::_Exit(static_cast<int>(code));
}

}  // namespace

void leave_after_loss(int rank, const std::string& reason) { leave(rank, reason, ExitCode::communication); }

void leave_alone(Communicator* communicator, int rank, const std::string& reason) {
  if (communicator != nullptr) communicator->abort(fmt::format("rank {} failed: {}", rank, reason));
  leave(rank, reason, ExitCode::other_error);
}

}  // namespace minim::command
