#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "minim/runtime/backend.h"
#include "minim/runtime/gpu_model.h"

/// CUDA, whose libraries this library does not link: they come with a module that is loaded when it is needed, libminim_cuda.so
/// beside the program or library that holds this code, or the file that the environment's MINIM_CUDA_MODULE names.
namespace minim {

/// Whether kernels that streams are given again and again are captured as CUDA graphs.
enum class CudaGraphs : std::uint8_t {
  off,
  automatic,  ///< where they can be captured
  on,         ///< those that cannot be captured are an error
};
/// "off", "auto" or "on". Throws InvalidArgument that lists the choices.
CudaGraphs parse_cuda_graphs(std::string_view text);

struct CudaOptions {
  int device = 0;  ///< among those that CUDA shows to this process
  CudaGraphs graphs = CudaGraphs::automatic;
  /// Times the plans that cuDNN proposes for a convolution and takes the fastest, which a file remembers for the next process: in
  /// the directory that the environment's MINIM_PLAN_CACHE names, by default in minim/ of the user's caches. Else the first.
  bool autotune = false;
  std::function<void()> at_work = [] {};  ///< called now and then while plans are timed, by the thread that asks for a kernel
};

struct CudaDeviceInfo {
  std::string name;      ///< "NVIDIA H100 80GB HBM3"
  std::string identity;  ///< "GPU-" and 32 digits: the same for all processes that use the device, or the part of one
  int capability = 0;    ///< 90 for sm_90
  std::int64_t memory_bytes = 0;
  std::int64_t free_bytes = 0;  ///< of it, when it was asked for
};

/// Whether there is a module, be it one that can be loaded or not.
bool has_cuda_module();

/// How many CUDA devices this process can use. Where it is none, `reason` becomes one sentence that says why: no module, no
/// driver or no device.
int cuda_device_count(std::string& reason);

/// Throws DeviceError in one sentence where there is no such device or it is too old.
CudaDeviceInfo cuda_device_info(int device);

/// The backend for one device. Throws DeviceError in one sentence where module, driver or device is missing.
std::unique_ptr<Backend> make_cuda_backend(const CudaOptions& options);

/// Scratch that a kernel of the backend gets at most.
inline constexpr std::int64_t kMostCudaWorkspaceBytes = 256 << 20;

/// Whether the driver's library is there. Without it cuDNN leaves out the engines that it compiles at run time.
bool has_cuda_driver();

/// A backend that tells which workspaces kernels want on a device that need not be here, for plans to be compiled for: it has no
/// memory and prepares no kernels. Throws DeviceError in one sentence where there is no module.
std::unique_ptr<Backend> make_cuda_planning_backend(const GpuModel& model);

/// The same without the module: the workspaces that it tells are those of other kernels.
std::unique_ptr<Backend> make_planning_backend_without_cuda();

/// What `name` stands for in the module. Throws DeviceError in one sentence.
void* cuda_module_symbol(const char* name);

}  // namespace minim
