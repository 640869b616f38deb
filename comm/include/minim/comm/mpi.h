#pragma once

#include <mpi.h>

#include "minim/comm/communicator.h"

namespace minim {

struct MpiOptions {
  std::chrono::milliseconds deadline{60000};
  int ranks_per_node = 0;  ///< test hook: splits the ranks of a machine into pretend nodes; 0: real nodes
};

/// A communicator over the ranks of `parent`, which is duplicated. MPI must be up and stay up for as long as it lives.
/// A collective call. Any thread level of MPI will do: MPI is called from the thread that drives the communicator only.
std::unique_ptr<Communicator> make_mpi_communicator(MPI_Comm parent, MpiOptions options = {});

}  // namespace minim
