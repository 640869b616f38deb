#pragma once

#include <memory>
#include <string>

#include "cuda/cuda_device.h"
#include "minim/runtime/cuda.h"

namespace minim::cuda {

// What the functions of minim/runtime/cuda.h ask the module.
int device_count(std::string& reason);
CudaDeviceInfo device_info(int device);

/// With all kernels of runtime.
std::unique_ptr<Backend> make_backend(const CudaOptions& options);

std::unique_ptr<Backend> make_planning_backend(const GpuModel& model);

/// The device that the backend computes on. Throws InvalidArgument for a backend that is not CUDA's.
std::shared_ptr<CudaDevice> device_of(Backend& backend);

}  // namespace minim::cuda
