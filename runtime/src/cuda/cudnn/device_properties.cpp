#include <fmt/format.h>

#include "cuda/cudnn/plan.h"

namespace minim::cuda::cudnn {
namespace {

/// As cuDNN writes what it knows of a device (CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION): it wants every key. Clock rates, which
/// are an H100's, have no say in what it chooses.
constexpr const char* kFormat = R"({{
 "maxGridSize": [2147483647, 65535, 65535],
 "maxBlockSize": [1024, 1024, 64],
 "regsPerBlock": 65536,
 "multiProcessorCount": {multiprocessors},
 "warpSize": 32,
 "maxSharedMemoryPerBlock": 49152,
 "maxSharedMemoryPerBlockOptin": {shared_memory_per_block},
 "reservedSharedMemoryPerBlock": 1024,
 "maxRegistersPerSM": 65536,
 "maxCtasPerSM": {blocks_per_multiprocessor},
 "maxThreadsPerBlock": 1024,
 "maxThreadsPerSM": {threads_per_multiprocessor},
 "pciDeviceId": 0,
 "isTccDriver": 0,
 "supportCoopLaunch": 1,
 "totalGlobalMem": {memory},
 "smClockRateKHz": 1980000,
 "memClockRateKHz": 2619000,
 "l2CacheSize": {l2_cache},
 "cudaDeviceId": 0,
 "deviceVer": {version},
 "driverVer": 13000,
 "deviceName": "{name}"
}})";

std::string to_json(const GpuModel& model) {
  using fmt::arg;
  return fmt::format(kFormat, arg("multiprocessors", model.multiprocessors),
                     arg("shared_memory_per_block", model.shared_memory_per_block_bytes),
                     arg("blocks_per_multiprocessor", model.blocks_per_multiprocessor),
                     arg("threads_per_multiprocessor", model.threads_per_multiprocessor), arg("memory", model.memory_bytes),
                     arg("l2_cache", model.l2_cache_bytes), arg("version", 10 * model.capability), arg("name", model.full_name));
}

}  // namespace

DeviceProperties DeviceProperties::of_device(int index) {
  Descriptor descriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
  descriptor.set(CUDNN_ATTR_DEVICEPROP_DEVICE_ID, std::int32_t{index}).finalize();
  return DeviceProperties(std::move(descriptor));
}

DeviceProperties DeviceProperties::of_model(const GpuModel& model) {
  const std::string json = to_json(model);
  Descriptor descriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
  descriptor.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, std::span<const char>(json)).finalize();
  return DeviceProperties(std::move(descriptor));
}

}  // namespace minim::cuda::cudnn
