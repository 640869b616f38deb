#pragma once

#include <cuda_runtime_api.h>

#include <source_location>

namespace minim::cuda {

/// Throws DeviceError unless `status` is cudaSuccess. `call` names the function that returned it.
void check(cudaError_t status, const char* call, std::source_location where = std::source_location::current());

}  // namespace minim::cuda
