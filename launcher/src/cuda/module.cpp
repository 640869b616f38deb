// What the program looks up in the CUDA module by name. Everything else in the module is hidden.
#include "cuda/cuda_backend.h"
#include "cuda/optimizer_kernels.h"
#include "minim/runtime/cuda.h"
#include "nccl/nccl_collectives.h"

#define MINIM_MODULE_ENTRY extern "C" __attribute__((visibility("default")))

MINIM_MODULE_ENTRY int minim_cuda_device_count(std::string& reason) { return minim::cuda::device_count(reason); }

MINIM_MODULE_ENTRY void minim_cuda_device_info(int device, minim::CudaDeviceInfo& info) {
  info = minim::cuda::device_info(device);
}

MINIM_MODULE_ENTRY minim::Backend* minim_make_cuda_backend(const minim::CudaOptions& options) {
  return minim::cuda::make_backend(options).release();
}

MINIM_MODULE_ENTRY minim::Backend* minim_make_cuda_planning_backend(const minim::GpuModel& model) {
  return minim::cuda::make_planning_backend(model).release();
}

MINIM_MODULE_ENTRY void minim_add_cuda_optimizer_kernels(minim::Backend& backend) { minim::cuda::add_optimizer_kernels(backend); }

MINIM_MODULE_ENTRY minim::detail::DeviceCollectives* minim_make_nccl_collectives(minim::Communicator& group,
                                                                                 minim::Backend& backend,
                                                                                 std::chrono::milliseconds deadline) {
  return minim::nccl::make_nccl_collectives(group, backend, deadline).release();
}
