#include "cudnn/device_properties.h"

#include <cuda_runtime_api.h>

#include <nlohmann/json.hpp>

#include "double.h"

namespace cudnn_double {

std::string device_properties(int device) {
  cudaDeviceProp all{};
  if (cudaGetDeviceProperties(&all, device) != cudaSuccess) double_refuse("cuDNN is asked about a device that is not there");
  const auto attribute = [device](cudaDeviceAttr which) {
    int value = 0;
    cudaDeviceGetAttribute(&value, which, device);
    return value;
  };
  const nlohmann::json json{
      {"maxGridSize", all.maxGridSize},
      {"maxBlockSize", all.maxThreadsDim},
      {"regsPerBlock", all.regsPerBlock},
      {"multiProcessorCount", all.multiProcessorCount},
      {"warpSize", all.warpSize},
      {"maxSharedMemoryPerBlock", all.sharedMemPerBlock},
      {"maxSharedMemoryPerBlockOptin", all.sharedMemPerBlockOptin},
      {"reservedSharedMemoryPerBlock", all.reservedSharedMemPerBlock},
      {"maxRegistersPerSM", all.regsPerMultiprocessor},
      {"maxCtasPerSM", all.maxBlocksPerMultiProcessor},
      {"maxThreadsPerBlock", all.maxThreadsPerBlock},
      {"maxThreadsPerSM", all.maxThreadsPerMultiProcessor},
      {"pciDeviceId", attribute(cudaDevAttrPciDeviceId)},
      {"isTccDriver", attribute(cudaDevAttrTccDriver)},
      {"supportCoopLaunch", attribute(cudaDevAttrCooperativeLaunch)},
      {"totalGlobalMem", all.totalGlobalMem},
      {"smClockRateKHz", attribute(cudaDevAttrClockRate)},
      {"memClockRateKHz", attribute(cudaDevAttrMemoryClockRate)},
      {"l2CacheSize", all.l2CacheSize},
      {"cudaDeviceId", device},
      {"deviceVer", 100 * all.major + 10 * all.minor},
      {"driverVer", CUDART_VERSION},
      {"deviceName", all.name},
  };
  return json.dump();
}

}  // namespace cudnn_double
