#pragma once

#include <optional>

#include "minim/comm/communicator.h"

namespace minim {

struct TcpOptions {
  int rank = 0;
  int size = 1;
  /// Where the ranks meet, equal on all of them: "host:port", where rank 0 then listens; or, where it has a '/' in it, a file
  /// that all of them see, in which rank 0 publishes a port that the system has picked.
  std::string rendezvous;
  std::chrono::milliseconds deadline{60000};
};

/// What the environment says: MINIM_RENDEZVOUS, with MINIM_RANK and MINIM_WORLD_SIZE or, without these, with Slurm's SLURM_PROCID
/// and SLURM_NTASKS. No value without MINIM_RENDEZVOUS. Throws InvalidArgument that names the variable.
std::optional<TcpOptions> tcp_options_of_environment();

/// A communicator whose ranks are processes or threads that exchange messages over TCP. Returns when all ranks have met; throws
/// CommError that names the missing ones after the deadline.
///
/// Its nodes are the machines of its ranks. Sums are those of ranks that have a node each: what a rank contributes is scaled and
/// rounded, then added in the order of ranks and rounded once more. A rank whose process ends is noticed at once.
std::unique_ptr<Communicator> make_tcp_communicator(const TcpOptions& options);

}  // namespace minim
