#pragma once

#include <memory>
#include <string>

#include "minim/runtime/cuda.h"

namespace minim::cuda {

/// What `minim::cuda_device_count` asks the module.
int device_count(std::string& reason);

/// The backend with all kernels of runtime.
std::unique_ptr<Backend> make_backend(const CudaOptions& options);

}  // namespace minim::cuda
