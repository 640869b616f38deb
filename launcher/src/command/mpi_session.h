#pragma once

#include <memory>
#include <optional>
#include <string>

#include "minim/comm/tcp.h"

namespace minim::command {

/// MPI for as long as this lives, and the communicator over all ranks. Processes that mpirun has not started meet over TCP
/// instead, and MPI is left alone, where MINIM_RENDEZVOUS says how.
class MpiSession {
 public:
  /// Throws CommError where ranks do not come to the rendezvous, InvalidArgument where the environment makes no sense.
  MpiSession();
  /// Waits for the other ranks, as MPI_Finalize does: not to be reached when one of them is lost.
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  int local_size() const { return local_size_; }  ///< ranks on this rank's node
  /// Ranks on this rank's node, itself included, that may run on a core of this rank: one where each is bound to its own cores.
  int core_sharing_ranks() const { return core_sharing_ranks_; }

  /// The lowest rank whose `failed` is true; -1 when none is. Collective over all ranks.
  int first_failed(bool failed) const;

  /// Collective. `ranks_per_node`: see MpiOptions; over TCP it says nothing.
  Communicator& open(double deadline_seconds, int ranks_per_node);
  Communicator* communicator() const { return communicator_.get(); }

  static std::string library_version();
  const char* thread_level() const;

 private:
  void start_mpi();
  void meet_over_tcp();

  std::optional<TcpOptions> tcp_;            ///< how the ranks meet without MPI
  std::unique_ptr<Communicator> tcp_ranks_;  ///< where there is no MPI to ask
  int rank_ = 0, size_ = 1, local_size_ = 1, core_sharing_ranks_ = 1;
  int thread_level_ = 0;
  std::unique_ptr<Communicator> communicator_;
};

}  // namespace minim::command
