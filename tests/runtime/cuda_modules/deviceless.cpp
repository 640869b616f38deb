// A CUDA module on a machine without a driver.
#include "minim/runtime/cuda.h"

extern "C" int minim_cuda_device_count(std::string& reason) {
  reason = "there is no driver here";
  return 0;
}

extern "C" minim::Backend* minim_make_cuda_backend(const minim::CudaOptions& /*options*/) {
  throw minim::DeviceError("there is no driver here");
}
