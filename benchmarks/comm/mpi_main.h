#pragma once

#include <mpi.h>

#include <exception>
#include <iostream>
#include <string_view>

namespace minim {

/// What `main` of a benchmark of this name returns: `run()` between MPI's start and end. What it throws ends all ranks.
template <class Run>
int mpi_main(int argc, char** argv, std::string_view name, const Run& run) {
  MPI_Init(&argc, &argv);
  int status = 0;
  try {
    run();
  } catch (const std::exception& error) {
    std::cerr << name << ": " << error.what() << "\n";
    status = 1;
  }
  if (status != 0) MPI_Abort(MPI_COMM_WORLD, status);
  MPI_Finalize();
  return status;
}

}  // namespace minim
