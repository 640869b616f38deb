// Kernels: what nvcc's host code says of them, launches, attributes, host functions.
#include <atomic>
#include <cstring>

#include "cudart/call.h"
#include "cudart/capture.h"
#include "cudart/device_memory.h"
#include "cudart/kernel_table.h"
#include "cudart/refuse.h"
#include "cudart/settings.h"

namespace cudart {
namespace {

struct Configuration {
  dim3 grid, block;
  std::size_t shared_bytes = 0;
  cudaStream_t stream = nullptr;
};
thread_local Configuration t_configuration;

std::uint64_t next_seed() {
  static std::atomic<std::uint64_t> launches = 0;
  return settings().schedule.seed * 1000003 + ++launches;
}

/// A launch's arguments, with device addresses replaced by those that kernels may touch.
class Arguments {
 public:
  Arguments(const double_kernel& kernel, void** arguments, Device& device) : kernel_(kernel) {
    const doubles::Shown shown;
    packed_ = kernel.pack(arguments, replace, &device);
  }
  ~Arguments() { kernel_.drop(packed_); }
  Arguments(const Arguments&) = delete;
  Arguments& operator=(const Arguments&) = delete;

  void* packed() const { return packed_; }
  const double_kernel& kernel() const { return kernel_; }

 private:
  static void replace(void* place, void* of_device) {
    const Device& device = *static_cast<const Device*>(of_device);
    const DeviceMemory& memory = DeviceMemory::instance();
    void* value = nullptr;
    std::memcpy(&value, place, sizeof value);
    if (!memory.contains(value)) return;
    if (const auto piece = memory.find(value); piece && !device.allows_peer(piece->device) && piece->device != device.index()) {
      refuse("a kernel on device " + std::to_string(device.index()) + " is given memory of device " +
             std::to_string(piece->device) + ", to which it has no access");
    }
    value = memory.alias(value);
    std::memcpy(place, &value, sizeof value);
  }

  double_kernel kernel_;
  void* packed_ = nullptr;
};

cudaError_t check_shape(dim3 grid, dim3 block, std::size_t shared_bytes, std::size_t shared_limit) {
  const bool block_fits = block.x > 0 && block.y > 0 && block.z > 0 && block.x <= 1024 && block.y <= 1024 && block.z <= 64 &&
                          block.x * block.y * block.z <= 1024;
  const bool grid_fits = grid.x > 0 && grid.y > 0 && grid.z > 0 && grid.x <= 2147483647U && grid.y <= 65535 && grid.z <= 65535;
  if (!block_fits || !grid_fits) return cudaErrorInvalidConfiguration;
  return shared_bytes <= shared_limit ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t launch_kernel(const char* name, const void* function, dim3 grid, dim3 block, void** values, std::size_t shared_bytes,
                          cudaStream_t handle) {
  return call_on(name, handle, [&](const std::shared_ptr<Stream>& stream) -> cudaError_t {
    KernelTable& table = KernelTable::instance();
    const double_kernel* kernel = table.find(function);
    if (kernel == nullptr) return cudaErrorInvalidDeviceFunction;
    if (&stream->device() != &current_device()) return cudaErrorInvalidResourceHandle;
    const cudaError_t error = check_shape(grid, block, shared_bytes, table.dynamic_shared_limit(function));
    if (error != cudaSuccess) return error;
    const auto arguments = std::make_shared<Arguments>(*kernel, values, stream->device());
    return submit(stream, {kernel->name, [arguments, grid, block, shared_bytes] {
                             arguments->kernel().invoke(arguments->packed(), {grid.x, grid.y, grid.z},
                                                        {block.x, block.y, block.z}, shared_bytes, next_seed());
                           }});
  });
}

}  // namespace
}  // namespace cudart

using namespace cudart;

extern "C" void** __cudaRegisterFatBinary(void* binary) { return static_cast<void**>(binary); }
extern "C" void __cudaRegisterFatBinaryEnd(void** /*binary*/) {}
extern "C" void __cudaUnregisterFatBinary(void** /*binary*/) {}
extern "C" char __cudaInitModule(void** /*binary*/) { return 1; }

extern "C" void __cudaRegisterFunction(void** /*binary*/, const char* stub, char* /*device_function*/, const char* name,
                                       int /*thread_limit*/, uint3* /*thread*/, uint3* /*block*/, dim3* /*block_size*/,
                                       dim3* /*grid_size*/, int* /*warp_size*/) {
  const doubles::Hidden hidden;
  KernelTable::instance().add_stub(stub, name);
}

extern "C" void __cudaRegisterVar(void** /*binary*/, char* /*host_variable*/, char* /*device_address*/, const char* name,
                                  int /*external*/, std::size_t /*size_bytes*/, int constant, int /*global*/) {
  // Constants that are the same on both sides need nothing: kernels of the CPU have their own.
  if (constant == 0) refuse(std::string("the variable ") + name + " is in device memory, which this double does not have");
}

extern "C" unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, std::size_t shared_bytes, CUstream_st* stream) {
  t_configuration = {grid, block, shared_bytes, stream};
  return 0;
}

extern "C" cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, std::size_t* shared_bytes, void* stream) {
  *grid = t_configuration.grid;
  *block = t_configuration.block;
  *shared_bytes = t_configuration.shared_bytes;
  *static_cast<cudaStream_t*>(stream) = t_configuration.stream;
  return cudaSuccess;
}

extern "C" cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* stub) {
  *kernel = reinterpret_cast<cudaKernel_t>(const_cast<void*>(stub));
  return cudaSuccess;
}

extern "C" cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, std::size_t shared_bytes,
                                          cudaStream_t stream) {
  return launch_kernel("cudaLaunchKernel", kernel, grid, block, arguments, shared_bytes, stream);
}

extern "C" cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void** arguments, std::size_t shared_bytes,
                                        cudaStream_t stream) {
  return launch_kernel("cudaLaunchKernel", function, grid, block, arguments, shared_bytes, stream);
}

extern "C" cudaError_t cudaLaunchHostFunc(cudaStream_t handle, cudaHostFn_t function, void* data) {
  return call_on("cudaLaunchHostFunc", handle, [&](const std::shared_ptr<Stream>& stream) -> cudaError_t {
    if (function == nullptr) return cudaErrorInvalidValue;
    return submit(stream, {"a host function", [function, data] {
                             set_in_host_function(true);
                             function(data);
                             set_in_host_function(false);
                           }});
  });
}

extern "C" cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute which, int value) {
  return call("cudaFuncSetAttribute", [&]() -> cudaError_t {
    if (KernelTable::instance().find(function) == nullptr) return cudaErrorInvalidDeviceFunction;
    if (which == cudaFuncAttributePreferredSharedMemoryCarveout) return cudaSuccess;
    if (which != cudaFuncAttributeMaxDynamicSharedMemorySize)
      refuse("cudaFuncSetAttribute sets an attribute that this double lacks");
    const int limit = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, current_device());
    if (value < 0 || value > limit) return cudaErrorInvalidValue;
    KernelTable::instance().set_dynamic_shared_limit(function, static_cast<std::size_t>(value));
    return cudaSuccess;
  });
}

extern "C" cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* function) {
  return call("cudaFuncGetAttributes", [&]() -> cudaError_t {
    if (KernelTable::instance().find(function) == nullptr) return cudaErrorInvalidDeviceFunction;
    *attributes = {};
    attributes->maxThreadsPerBlock = 1024;
    attributes->numRegs = 32;
    attributes->ptxVersion = settings().capability;
    attributes->binaryVersion = settings().capability;
    attributes->maxDynamicSharedSizeBytes = static_cast<int>(KernelTable::instance().dynamic_shared_limit(function));
    return cudaSuccess;
  });
}

extern "C" cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void* function, int threads,
                                                                              std::size_t shared_bytes, unsigned /*flags*/) {
  return call("cudaOccupancyMaxActiveBlocksPerMultiprocessor", [&]() -> cudaError_t {
    if (KernelTable::instance().find(function) == nullptr) return cudaErrorInvalidDeviceFunction;
    if (threads < 1) return cudaErrorInvalidValue;
    const auto of = [](cudaDeviceAttr which) { return attribute(which, current_device()); };
    const int by_threads = of(cudaDevAttrMaxThreadsPerMultiProcessor) / threads;
    const std::size_t shared = static_cast<std::size_t>(of(cudaDevAttrMaxSharedMemoryPerMultiprocessor));
    const int by_shared = shared_bytes == 0 ? by_threads : static_cast<int>(shared / shared_bytes);
    *blocks = threads > 1024 ? 0 : std::min({by_threads, by_shared, of(cudaDevAttrMaxBlocksPerMultiprocessor)});
    return cudaSuccess;
  });
}

extern "C" cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* function, int threads,
                                                                     std::size_t shared_bytes) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, function, threads, shared_bytes, 0);
}
