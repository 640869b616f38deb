#pragma once

#include <mpi.h>

namespace minim::detail {

/// Throws CommError with MPI's own words when `status`, returned by `call`, is not success.
void check_mpi(int status, const char* call);

}  // namespace minim::detail
