#include <fmt/format.h>

#include <optional>

#include "command/commands.h"
#include "command/environment.h"
#include "command/lost_ranks.h"
#include "command/stop_request.h"
#include "minim/launcher/shared_error.h"

namespace minim::command {
namespace {

int as_int(ExitCode code) { return static_cast<int>(code); }

void print_error(const std::string& text) {
  std::fflush(stdout);
  fmt::print(stderr, "minim: {}\n", text);
}

bool uses_mpi(Action action) { return action == Action::train || action == Action::eval || action == Action::doctor; }

/// Ends on every rank in the same way: one rank prints, and none leaves before it has, since mpirun ends the others when one
/// does.
int end_together(const NothingToRun& reason, const LaunchClaim& claim) {
  if (claim.rank == 0 && reason.is_error) print_error(reason.what());
  if (claim.rank == 0 && !reason.is_error) fmt::print("{}", reason.what());
  std::fflush(stdout);
  if (reason.is_error && claim.size > 1) {
    const MpiSession mpi;
    const int first = mpi.first_failed(true);
    if (first == mpi.rank() && claim.rank != 0 && mpi.size() > 1) print_error(fmt::format("rank {}: {}", first, reason.what()));
  }
  return as_int(reason.is_error ? ExitCode::bad_input : ExitCode::finished);
}

ExitCode run_under_mpi(const Request& request, MpiSession& mpi) {
  switch (request.action) {
    case Action::train: return train(request, mpi);
    case Action::eval: return evaluate(request, mpi);
    default: return doctor(mpi);
  }
}

/// All ranks have the error. Processes that never met in MPI are told apart by what their launcher says.
int end_on_shared_error(const Error& error, const MpiSession& mpi, const LaunchClaim& claim) {
  const int rank = mpi.size() > 1 ? mpi.rank() : claim.rank;
  if (rank == 0) print_error(error.what());
  return as_int(exit_code_of(error));
}

int run_with_mpi(const Request& request, const LaunchClaim& claim) {
  if (request.action == Action::train) install_stop_signals();
  std::optional<MpiSession> session;
  try {
    session.emplace();
  } catch (const CommError& error) {
    leave_after_loss(claim.rank, error.what());
  } catch (const Error& error) {
    print_error(error.what());
    return as_int(exit_code_of(error));
  }
  MpiSession& mpi = *session;
  // A configuration file may be there for some ranks only: the others are in end_together.
  if (mpi.first_failed(false) >= 0) return as_int(ExitCode::bad_input);
  try {
    return as_int(run_under_mpi(request, mpi));
  } catch (const CommError& error) {
    leave_after_loss(mpi.rank(), error.what());
  } catch (const SharedDeviceError& error) {
    return end_on_shared_error(error, mpi, claim);
  } catch (const DeviceError& error) {
    leave_alone(mpi.communicator(), mpi.rank(), error.what());
  } catch (const Error& error) {
    return end_on_shared_error(error, mpi, claim);
  } catch (const std::exception& error) {
    leave_alone(mpi.communicator(), mpi.rank(), error.what());
  }
}

/// Commands of one process: of several that mpirun started, the first does the work.
int run_alone(const Request& request, const LaunchClaim& claim) {
  if (claim.rank != 0) return as_int(ExitCode::finished);
  try {
    switch (request.action) {
      case Action::plan: return as_int(plan(request));
      case Action::inspect: return as_int(inspect(request));
      default: return as_int(export_weights(request));
    }
  } catch (const std::exception& error) {
    print_error(error.what());
    return as_int(exit_code_of(error));
  }
}

}  // namespace

int run(const std::vector<std::string>& arguments) {
  const LaunchClaim claim = read_launch_claim(process_environment);
  Request request;
  try {
    request = parse_command_line(arguments);
  } catch (const NothingToRun& reason) {
    return end_together(reason, claim);
  } catch (const Error& error) {
    return end_together(NothingToRun(error.what(), /*error=*/true), claim);
  }
  return uses_mpi(request.action) ? run_with_mpi(request, claim) : run_alone(request, claim);
}

}  // namespace minim::command
