#include "mpi_check.h"

#include <fmt/format.h>

#include "minim/runtime/error.h"

namespace minim::detail {

void check_mpi(int status, const char* call) {
  if (status == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  MPI_Error_string(status, text, &length);
  throw CommError(fmt::format("{} failed: {}", call, text));
}

}  // namespace minim::detail
