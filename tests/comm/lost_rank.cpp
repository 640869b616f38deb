// A group that loses one of its ranks: lost_rank RANK. The others print the error that ends their wait.
// mpirun ends the whole job when a rank is killed; its SIGTERM is ignored here so that the survivors can say what they saw.

#include <mpi.h>
#include <unistd.h>

#include <csignal>
#include <iostream>
#include <string>

#include "minim/comm/mpi.h"
#include "minim/runtime/error.h"

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  if (argc != 2) return 2;
  const int lost = std::stoi(argv[1]);
  std::signal(SIGTERM, SIG_IGN);
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  {
    const auto group = minim::make_mpi_communicator(MPI_COMM_WORLD);
    group->barrier({.label = "start", .after = {}}).wait();
    if (rank == lost) std::raise(SIGKILL);
    try {
      group->barrier({.label = "end", .after = {}}).wait();
    } catch (const minim::CommError& error) {
      std::cout << "rank " + std::to_string(rank) + ": " + error.what() + "\n" << std::flush;
    }
  }
  _exit(1);  // MPI_Finalize would wait for the lost rank
}
