#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace minim::command {

/// Looks up an environment variable; null when it is not set. A parameter so that tests can pretend.
using GetEnvironment = std::function<const char*(const char* name)>;
const char* process_environment(const char* name);

/// What the program that started this process says about it. `size` 1 when nothing was said.
struct LaunchClaim {
  int rank = 0;
  int size = 1;
  std::string variable;  ///< that gave the size
};
LaunchClaim read_launch_claim(const GetEnvironment& environment);

/// One sentence when MPI sees one rank but more processes were started or allotted: each would train alone. Empty otherwise.
std::string lonely_ranks_error(const LaunchClaim& claim, int mpi_size);

/// Seconds since 1970 at which the Slurm allocation ends, when it says so.
std::optional<std::int64_t> allocation_end(const GetEnvironment& environment);

/// Cores that the scheduler and the launcher let this process run on, in order.
std::vector<int> available_cores();
/// "0-3,8"
std::string format_cores(const std::vector<int>& cores);
/// A rank's share of the cores that it may run on, when so many ranks, itself included, may run on them.
int default_threads(int available, int sharing_ranks);
/// `requested`, or where it is 0 the default for this process.
int threads_of_rank(std::int64_t requested, int sharing_ranks);

/// Whether what this process prints ends up on a terminal. Open MPI gives every rank a pseudo terminal even when mpirun's own
/// output goes to a file, so under mpirun its end counts.
bool prints_to_terminal(const GetEnvironment& environment);

/// Whether an NVIDIA device is there, with or without a driver that works.
bool has_nvidia_device();

}  // namespace minim::command
