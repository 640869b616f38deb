#include <cstring>
#include <map>

#include "cudart/device.h"
#include "cudart/refuse.h"
#include "cudart/settings.h"

namespace cudart {
namespace {

constexpr int kMultiprocessors = 132;
constexpr int kClockKilohertz = 1980000;
constexpr int kMemoryClockKilohertz = 2619000;

using Attributes = std::map<cudaDeviceAttr, int>;

Attributes limits() {
  return {{cudaDevAttrMaxThreadsPerBlock, 1024},
          {cudaDevAttrMaxBlockDimX, 1024},
          {cudaDevAttrMaxBlockDimY, 1024},
          {cudaDevAttrMaxBlockDimZ, 64},
          {cudaDevAttrMaxGridDimX, 2147483647},
          {cudaDevAttrMaxGridDimY, 65535},
          {cudaDevAttrMaxGridDimZ, 65535},
          {cudaDevAttrMaxSharedMemoryPerBlock, 48 << 10},
          {cudaDevAttrMaxSharedMemoryPerBlockOptin, 227 << 10},
          {cudaDevAttrMaxSharedMemoryPerMultiprocessor, 228 << 10},
          {cudaDevAttrReservedSharedMemoryPerBlock, 1 << 10},
          {cudaDevAttrTotalConstantMemory, 64 << 10},
          {cudaDevAttrMaxRegistersPerBlock, 65536},
          {cudaDevAttrMaxRegistersPerMultiprocessor, 65536},
          {cudaDevAttrMaxThreadsPerMultiProcessor, 2048},
          {cudaDevAttrMaxBlocksPerMultiprocessor, 32},
          {cudaDevAttrWarpSize, 32}};
}

Attributes abilities() {
  return {{cudaDevAttrMultiProcessorCount, kMultiprocessors},
          {cudaDevAttrClockRate, kClockKilohertz},
          {cudaDevAttrMemoryClockRate, kMemoryClockKilohertz},
          {cudaDevAttrGlobalMemoryBusWidth, 5120},
          {cudaDevAttrL2CacheSize, 50 << 20},
          {cudaDevAttrAsyncEngineCount, 3},
          {cudaDevAttrConcurrentKernels, 1},
          {cudaDevAttrStreamPrioritiesSupported, 1},
          {cudaDevAttrUnifiedAddressing, 1},
          {cudaDevAttrCanMapHostMemory, 1},
          {cudaDevAttrHostRegisterSupported, 1},
          {cudaDevAttrMemoryPoolsSupported, 1},
          {cudaDevAttrManagedMemory, 0},
          {cudaDevAttrConcurrentManagedAccess, 0},
          {cudaDevAttrPageableMemoryAccess, 0},
          {cudaDevAttrCooperativeLaunch, 0},
          {cudaDevAttrComputePreemptionSupported, 1},
          {cudaDevAttrComputeMode, cudaComputeModeDefault},
          {cudaDevAttrIntegrated, 0},
          {cudaDevAttrEccEnabled, 1},
          {cudaDevAttrTccDriver, 0},
          {cudaDevAttrPciDomainId, 0},
          {cudaDevAttrPciDeviceId, 0},
          {cudaDevAttrComputeCapabilityMajor, settings().capability / 10},
          {cudaDevAttrComputeCapabilityMinor, settings().capability % 10}};
}

}  // namespace

int attribute(cudaDeviceAttr which, const Device& device) {
  static const Attributes& attributes = *[] {
    auto* all = new Attributes(limits());
    all->merge(abilities());
    return all;
  }();
  if (which == cudaDevAttrPciBusId) return device.number() + 1;
  const auto found = attributes.find(which);
  if (found == attributes.end()) {
    refuse("cudaDeviceGetAttribute is asked for attribute " + std::to_string(static_cast<int>(which)) +
           ", which this double does not know");
  }
  return found->second;
}

cudaDeviceProp properties(const Device& device) {
  const auto value = [&](cudaDeviceAttr which) { return attribute(which, device); };
  cudaDeviceProp all = {};
  const std::string name = "double of an sm_" + std::to_string(settings().capability) + " GPU";
  std::memcpy(all.name, name.c_str(), name.size());
  std::memcpy(all.uuid.bytes, "minim-double", 12);
  all.uuid.bytes[15] = static_cast<char>(device.number());
  all.totalGlobalMem = settings().memory_bytes;
  all.sharedMemPerBlock = static_cast<std::size_t>(value(cudaDevAttrMaxSharedMemoryPerBlock));
  all.sharedMemPerBlockOptin = static_cast<std::size_t>(value(cudaDevAttrMaxSharedMemoryPerBlockOptin));
  all.sharedMemPerMultiprocessor = static_cast<std::size_t>(value(cudaDevAttrMaxSharedMemoryPerMultiprocessor));
  all.reservedSharedMemPerBlock = static_cast<std::size_t>(value(cudaDevAttrReservedSharedMemoryPerBlock));
  all.regsPerBlock = value(cudaDevAttrMaxRegistersPerBlock);
  all.regsPerMultiprocessor = value(cudaDevAttrMaxRegistersPerMultiprocessor);
  all.warpSize = value(cudaDevAttrWarpSize);
  all.maxThreadsPerBlock = value(cudaDevAttrMaxThreadsPerBlock);
  all.maxThreadsPerMultiProcessor = value(cudaDevAttrMaxThreadsPerMultiProcessor);
  all.maxBlocksPerMultiProcessor = value(cudaDevAttrMaxBlocksPerMultiprocessor);
  for (int axis = 0; axis < 3; ++axis) {
    all.maxThreadsDim[axis] = value(static_cast<cudaDeviceAttr>(cudaDevAttrMaxBlockDimX + axis));
    all.maxGridSize[axis] = value(static_cast<cudaDeviceAttr>(cudaDevAttrMaxGridDimX + axis));
  }
  all.totalConstMem = static_cast<std::size_t>(value(cudaDevAttrTotalConstantMemory));
  all.major = value(cudaDevAttrComputeCapabilityMajor);
  all.minor = value(cudaDevAttrComputeCapabilityMinor);
  all.multiProcessorCount = value(cudaDevAttrMultiProcessorCount);
  all.memoryBusWidth = value(cudaDevAttrGlobalMemoryBusWidth);
  all.l2CacheSize = value(cudaDevAttrL2CacheSize);
  all.asyncEngineCount = value(cudaDevAttrAsyncEngineCount);
  all.concurrentKernels = value(cudaDevAttrConcurrentKernels);
  all.streamPrioritiesSupported = value(cudaDevAttrStreamPrioritiesSupported);
  all.unifiedAddressing = value(cudaDevAttrUnifiedAddressing);
  all.canMapHostMemory = value(cudaDevAttrCanMapHostMemory);
  all.hostRegisterSupported = value(cudaDevAttrHostRegisterSupported);
  all.memoryPoolsSupported = value(cudaDevAttrMemoryPoolsSupported);
  all.ECCEnabled = value(cudaDevAttrEccEnabled);
  all.pciBusID = value(cudaDevAttrPciBusId);
  return all;
}

}  // namespace cudart
