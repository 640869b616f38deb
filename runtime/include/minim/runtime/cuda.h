#pragma once

#include <memory>
#include <string>

#include "minim/runtime/backend.h"

namespace minim {

struct CudaOptions {
  int device = 0;              ///< among those that CUDA shows to this process
  bool deterministic = false;  ///< only algorithms that give the same bits every time
};

/// How many CUDA devices this process can use. Where it is none, `reason` becomes one sentence that says why: no module, no
/// driver or no device. Never throws for these.
int cuda_device_count(std::string& reason);

/// The backend for one device. Throws DeviceError in one sentence where module, driver or device is missing.
std::unique_ptr<Backend> make_cuda_backend(const CudaOptions& options);

/// Which device a rank takes.
struct CudaDeviceChoice {
  int device = 0;
  std::string warning;  ///< one sentence where ranks have to share devices
};

/// The device for rank `local_rank` of the `local_ranks` on its node, where each sees `devices` of them, at least one.
CudaDeviceChoice choose_cuda_device(int local_rank, int local_ranks, int devices);

/// What `name` stands for in the CUDA module, which is loaded by the first call: libminim_cuda.so beside the program or library
/// that holds this function, or the file that the environment's MINIM_CUDA_MODULE names. Throws DeviceError in one sentence.
void* cuda_module_symbol(const char* name);

}  // namespace minim
