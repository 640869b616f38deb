// A group that loses one of its ranks: lost_rank RANK. The others print the error that ends their wait. The ranks meet over TCP
// where the environment says how, and by MPI elsewhere.
// mpirun ends the whole job when a rank is killed; its SIGTERM is ignored here so that the survivors can say what they saw.

#include <mpi.h>
#include <unistd.h>

#include <csignal>
#include <iostream>
#include <string>

#include "minim/comm/mpi.h"
#include "minim/comm/tcp.h"
#include "minim/runtime/error.h"

namespace {

std::unique_ptr<minim::Communicator> make_group(int& argc, char**& argv) {
  if (const auto options = minim::tcp_options_of_environment()) return minim::make_tcp_communicator(*options);
  MPI_Init(&argc, &argv);
  return minim::make_mpi_communicator(MPI_COMM_WORLD);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const int lost = std::stoi(argv[1]);
  std::signal(SIGTERM, SIG_IGN);
  {
    const auto group = make_group(argc, argv);
    group->barrier({.label = "start", .after = {}}).wait();
    if (group->rank() == lost) std::raise(SIGKILL);
    try {
      group->barrier({.label = "end", .after = {}}).wait();
    } catch (const minim::CommError& error) {
      std::cout << "rank " + std::to_string(group->rank()) + ": " + error.what() + "\n" << std::flush;
    }
  }
  _exit(1);  // MPI_Finalize would wait for the lost rank
}
