#pragma once

#include <nccl.h>

#include <source_location>
#include <string>

namespace minim::nccl {

/// Throws CommError unless `status` is ncclSuccess, or ncclInProgress, which calls on non-blocking communicators return. `call`
/// names the function that returned it.
void check(ncclResult_t status, const char* call, std::source_location where = std::source_location::current());

/// "error 6: remote process exited or there was a network error", with what NCCL has to add.
std::string describe(ncclResult_t status);

}  // namespace minim::nccl
