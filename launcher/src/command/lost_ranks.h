#pragma once

#include "minim/comm/communicator.h"

namespace minim::command {

/// Ends this process after a collective has failed: says why, waits so long that the other survivors can say it too, and leaves
/// with ExitCode::communication. MPI_Finalize would wait for the lost rank, and destructors might.
[[noreturn]] void leave_after_loss(int rank, const std::string& reason);

/// Ends this process after an error that the other ranks know nothing of; tells them.
[[noreturn]] void leave_alone(Communicator* communicator, int rank, const std::string& reason);

/// Runs `part`; where a collective fails in it, the process ends before anything that `part` uses is destroyed.
template <class Part>
decltype(auto) ending_on_loss(const Communicator& communicator, Part&& part) {
  try {
    return part();
  } catch (const CommError& error) {
    leave_after_loss(communicator.rank(), error.what());
  }
}

}  // namespace minim::command
