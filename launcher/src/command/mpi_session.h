#pragma once

#include <memory>
#include <string>

#include "minim/comm/communicator.h"

namespace minim::command {

/// MPI for as long as this lives, and the communicator over all ranks.
class MpiSession {
 public:
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

  /// Collective. `ranks_per_node`: see MpiOptions.
  Communicator& open(double deadline_seconds, int ranks_per_node);
  Communicator* communicator() const { return communicator_.get(); }

  static std::string library_version();
  const char* thread_level() const;

 private:
  int rank_ = 0, size_ = 1, local_size_ = 1, core_sharing_ranks_ = 1;
  int thread_level_ = 0;
  std::unique_ptr<Communicator> communicator_;
};

}  // namespace minim::command
