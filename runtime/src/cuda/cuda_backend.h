#pragma once

#include <memory>
#include <string>

#include "cuda/cuda_stream.h"
#include "minim/runtime/cuda.h"

namespace minim::cuda {

// What the functions of minim/runtime/cuda.h ask the module.
int device_count(std::string& reason);
CudaDeviceInfo device_info(int device);

/// With all kernels of runtime.
std::unique_ptr<Backend> make_backend(const CudaOptions& options);

/// A stream of that priority on the device of `backend`. Throws InvalidArgument for a backend that is not CUDA's.
std::unique_ptr<Stream> make_stream(Backend& backend, std::string name, StreamPriority priority);

}  // namespace minim::cuda
