// Devices, versions, errors.
#include <cstring>
#include <map>

#include "cudart/call.h"
#include "cudart/refuse.h"

namespace cudart {
namespace {

constexpr int kVersion = 13000;

struct ErrorText {
  const char* name;
  const char* meaning;
};

/// Those that the double returns; the failures that an environment asks for may be others.
ErrorText text_of(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return {"cudaSuccess", "no error"};
    case cudaErrorInvalidValue: return {"cudaErrorInvalidValue", "invalid argument"};
    case cudaErrorMemoryAllocation: return {"cudaErrorMemoryAllocation", "out of memory"};
    case cudaErrorInvalidConfiguration: return {"cudaErrorInvalidConfiguration", "invalid configuration argument"};
    case cudaErrorInsufficientDriver:
      return {"cudaErrorInsufficientDriver", "CUDA driver version is insufficient for CUDA runtime version"};
    case cudaErrorInvalidDeviceFunction: return {"cudaErrorInvalidDeviceFunction", "invalid device function"};
    case cudaErrorNoDevice: return {"cudaErrorNoDevice", "no CUDA-capable device is detected"};
    case cudaErrorInvalidDevice: return {"cudaErrorInvalidDevice", "invalid device ordinal"};
    case cudaErrorECCUncorrectable: return {"cudaErrorECCUncorrectable", "uncorrectable ECC error encountered"};
    case cudaErrorInvalidResourceHandle: return {"cudaErrorInvalidResourceHandle", "invalid resource handle"};
    case cudaErrorIllegalState: return {"cudaErrorIllegalState", "the operation cannot be performed in the present state"};
    case cudaErrorNotReady: return {"cudaErrorNotReady", "device not ready"};
    case cudaErrorIllegalAddress: return {"cudaErrorIllegalAddress", "an illegal memory access was encountered"};
    case cudaErrorPeerAccessAlreadyEnabled: return {"cudaErrorPeerAccessAlreadyEnabled", "peer access is already enabled"};
    case cudaErrorHostMemoryAlreadyRegistered:
      return {"cudaErrorHostMemoryAlreadyRegistered", "part or all of the requested memory range is already mapped"};
    case cudaErrorHostMemoryNotRegistered:
      return {"cudaErrorHostMemoryNotRegistered", "pointer does not correspond to a registered memory region"};
    case cudaErrorLaunchFailure: return {"cudaErrorLaunchFailure", "unspecified launch failure"};
    case cudaErrorNotPermitted: return {"cudaErrorNotPermitted", "operation not permitted"};
    case cudaErrorStreamCaptureUnsupported:
      return {"cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"};
    case cudaErrorStreamCaptureInvalidated:
      return {"cudaErrorStreamCaptureInvalidated", "operation failed due to a previous error during capture"};
    case cudaErrorStreamCaptureMerge:
      return {"cudaErrorStreamCaptureMerge", "operation would result in a merge of separate capture sequences"};
    case cudaErrorStreamCaptureUnmatched:
      return {"cudaErrorStreamCaptureUnmatched", "capture was not ended in the same stream as it began"};
    case cudaErrorStreamCaptureUnjoined: return {"cudaErrorStreamCaptureUnjoined", "capturing stream has unjoined work"};
    case cudaErrorStreamCaptureIsolation:
      return {"cudaErrorStreamCaptureIsolation", "dependency created on uncaptured work in another stream"};
    case cudaErrorCapturedEvent:
      return {"cudaErrorCapturedEvent", "operation not permitted on an event last recorded in a capturing stream"};
    case cudaErrorStreamCaptureWrongThread:
      return {"cudaErrorStreamCaptureWrongThread", "attempt to terminate a thread-local capture sequence from another thread"};
    default: return {"another cudaError", "an error that this double has no text for"};
  }
}

/// Runs `body(device)` for a device that exists.
template <class Body>
cudaError_t call_of(const char* function, int index, Body body) {
  return call(function, [&]() -> cudaError_t {
    if (index < 0 || index >= device_count()) return cudaErrorInvalidDevice;
    return body(device(index));
  });
}

}  // namespace
}  // namespace cudart

using namespace cudart;

extern "C" const char* cudaGetErrorName(cudaError_t error) { return text_of(error).name; }
extern "C" const char* cudaGetErrorString(cudaError_t error) { return text_of(error).meaning; }
extern "C" cudaError_t cudaGetLastError() { return last_error(true); }
extern "C" cudaError_t cudaPeekAtLastError() { return last_error(false); }

extern "C" cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = kVersion;
  return cudaSuccess;
}

extern "C" cudaError_t cudaDriverGetVersion(int* version) {
  *version = kVersion;
  return cudaSuccess;
}

extern "C" cudaError_t cudaGetDeviceCount(int* count) {
  *count = 0;
  return call("cudaGetDeviceCount", [&]() -> cudaError_t {
    *count = device_count();
    return cudaSuccess;
  });
}

extern "C" cudaError_t cudaGetDevice(int* index) {
  return call("cudaGetDevice", [&]() -> cudaError_t {
    *index = current_device().index();
    return cudaSuccess;
  });
}

extern "C" cudaError_t cudaSetDevice(int index) {
  return call_of("cudaSetDevice", index, [](const Device& device) -> cudaError_t {
    set_current_device(device.index());
    return device.lost();
  });
}

extern "C" cudaError_t cudaSetDeviceFlags(unsigned /*flags*/) {
  return call("cudaSetDeviceFlags", [] { return cudaSuccess; });
}

extern "C" cudaError_t cudaGetDeviceProperties(cudaDeviceProp* all, int index) {
  return call_of("cudaGetDeviceProperties", index, [&](const Device& device) -> cudaError_t {
    *all = properties(device);
    return cudaSuccess;
  });
}

extern "C" cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr which, int index) {
  return call_of("cudaDeviceGetAttribute", index, [&](const Device& device) -> cudaError_t {
    *value = attribute(which, device);
    return cudaSuccess;
  });
}

extern "C" cudaError_t cudaDeviceGetPCIBusId(char* id, int length, int index) {
  return call_of("cudaDeviceGetPCIBusId", index, [&](const Device& device) -> cudaError_t {
    const std::string full = device.pci_bus_id();
    if (length <= static_cast<int>(full.size())) return cudaErrorInvalidValue;
    std::memcpy(id, full.c_str(), full.size() + 1);
    return cudaSuccess;
  });
}

extern "C" cudaError_t cudaDeviceGetByPCIBusId(int* index, const char* id) {
  return call("cudaDeviceGetByPCIBusId", [&]() -> cudaError_t {
    for (int i = 0; i < device_count(); ++i) {
      if (device(i).pci_bus_id() != id) continue;
      *index = i;
      return cudaSuccess;
    }
    return cudaErrorInvalidDevice;
  });
}

extern "C" cudaError_t cudaDeviceCanAccessPeer(int* can, int index, int peer) {
  return call_of("cudaDeviceCanAccessPeer", index, [&](const Device& device) -> cudaError_t {
    if (peer < 0 || peer >= device_count()) return cudaErrorInvalidDevice;
    *can = device.index() == peer ? 0 : 1;
    return cudaSuccess;
  });
}

extern "C" cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned /*flags*/) {
  return call_of("cudaDeviceEnablePeerAccess", peer, [&](const Device& /*device*/) -> cudaError_t {
    Device& current = current_device();
    if (current.index() == peer) return cudaErrorInvalidDevice;
    if (current.allows_peer(peer)) return cudaErrorPeerAccessAlreadyEnabled;
    current.allow_peer(peer);
    return cudaSuccess;
  });
}

extern "C" cudaError_t cudaProfilerStart() {
  return call("cudaProfilerStart", [] { return cudaSuccess; });
}

extern "C" cudaError_t cudaProfilerStop() {
  return call("cudaProfilerStop", [] { return cudaSuccess; });
}
