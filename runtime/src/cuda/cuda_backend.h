#pragma once

#include <memory>
#include <string>

#include "minim/runtime/cuda.h"

namespace minim::cuda {

// What the functions of minim/runtime/cuda.h ask the module.
int device_count(std::string& reason);
CudaDeviceInfo device_info(int device);

/// With all kernels of runtime.
std::unique_ptr<Backend> make_backend(const CudaOptions& options);

}  // namespace minim::cuda
