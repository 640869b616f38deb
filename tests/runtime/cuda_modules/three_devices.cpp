// A CUDA module that finds three devices, the last of which is too old, and computes on the CPU.
#include "minim/runtime/cuda.h"

extern "C" int minim_cuda_device_count(std::string& /*reason*/) { return 3; }

extern "C" void minim_cuda_device_info(int device, minim::CudaDeviceInfo& info) {
  if (device == 2) throw minim::DeviceError("device 2 is too old");
  const std::string number = std::to_string(device);
  info = {.name = "device " + number, .identity = "GPU-" + number, .capability = 90, .memory_bytes = 1 << 30};
}

extern "C" minim::Backend* minim_make_cuda_backend(const minim::CudaOptions& /*options*/) {
  return minim::make_reference_backend().release();
}
