// Memory of devices, page-locked memory, copies.
#include <algorithm>
#include <cstring>
#include <string>

#include "cudart/call.h"
#include "cudart/capture.h"
#include "cudart/device_memory.h"
#include "cudart/handles.h"
#include "cudart/host_memory.h"
#include "cudart/refuse.h"
#include "cudart/settings.h"
#include "double.h"

namespace cudart {
namespace {

enum class Place { device, page_locked, pageable };

std::string range_text(const void* pointer, std::size_t size_bytes) {
  return std::to_string(size_bytes) + " bytes at " + text(pointer);
}

/// Where a range lies. Refuses one that leaves the piece of memory that it starts in.
Place place_of(const char* function, const void* pointer, std::size_t size_bytes) {
  const DeviceMemory& memory = DeviceMemory::instance();
  const auto* start = static_cast<const char*>(pointer);
  if (memory.contains(pointer)) {
    const auto piece = memory.find(pointer);
    const bool inside = piece && memory.find(start + size_bytes) && size_bytes <= piece->placement.size_bytes;
    if (!inside) {
      refuse(std::string(function) + ": " + range_text(pointer, size_bytes) + " are not inside one allocation: the address is " +
             memory.describe(pointer));
    }
    return Place::device;
  }
  const auto piece = HostMemory::instance().find(pointer);
  if (piece && start + size_bytes <= piece->start + piece->size_bytes) return Place::page_locked;
  if (HostMemory::instance().contains(pointer)) {
    refuse(std::string(function) + ": " + range_text(pointer, size_bytes) + " are not inside one piece of page-locked memory");
  }
  return Place::pageable;
}

void check_kind(const char* function, cudaMemcpyKind kind, Place to, Place from) {
  const bool to_device = to == Place::device, from_device = from == Place::device;
  const bool matches = kind == cudaMemcpyDefault || (kind == cudaMemcpyHostToDevice && to_device && !from_device) ||
                       (kind == cudaMemcpyDeviceToHost && !to_device && from_device) ||
                       (kind == cudaMemcpyDeviceToDevice && to_device && from_device) ||
                       (kind == cudaMemcpyHostToHost && !to_device && !from_device);
  if (!matches) refuse(std::string(function) + ": the kind of copy is not that of its addresses");
}

void check_apart(const char* function, const void* to, const void* from, std::size_t size_bytes) {
  const auto *a = static_cast<const char*>(to), *b = static_cast<const char*>(from);
  if (a < b + size_bytes && b < a + size_bytes) refuse(std::string(function) + ": source and destination overlap");
}

std::function<void()> copy_of(void* to, const void* from, std::size_t size_bytes) {
  const DeviceMemory& memory = DeviceMemory::instance();
  return [target = memory.alias(to), source = memory.alias(from), size_bytes] { std::memcpy(target, source, size_bytes); };
}

/// The default stream orders itself against streams that are not created as non-blocking.
void drain_blocking_streams() {
  for (const auto& stream : Handles<Stream>::instance().all()) {
    if (stream->is_blocking() && &stream->device() == &current_device()) stream->drain();
  }
}

cudaError_t allocate(void** pointer, std::size_t size_bytes) {
  *pointer = nullptr;
  if (size_bytes == 0) return cudaSuccess;
  *pointer = DeviceMemory::instance().allocate(current_device().index(), size_bytes);
  return *pointer == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}

/// Runs the body of a call that captures may forbid.
template <class Body>
cudaError_t unsafe_call(const char* function, Body body) {
  return call(function, [&]() -> cudaError_t {
    const cudaError_t error = check_allowed_during_capture();
    return error != cudaSuccess ? error : body();
  });
}

cudaError_t allocate_host(const char* function, void** pointer, std::size_t size_bytes) {
  return unsafe_call(function, [&]() -> cudaError_t {
    *pointer = HostMemory::instance().allocate(current_device().index(), size_bytes);
    return *pointer == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
  });
}

void refuse_captured(const char* function, const Stream& stream) {
  if (capture_status(stream, nullptr) != cudaStreamCaptureStatusNone) {
    refuse(std::string(function) + " in a stream that is being captured is more than this double can do");
  }
}

}  // namespace
}  // namespace cudart

using namespace cudart;

extern "C" cudaError_t cudaMalloc(void** pointer, std::size_t size_bytes) {
  return unsafe_call("cudaMalloc", [&] { return allocate(pointer, size_bytes); });
}

extern "C" cudaError_t cudaFree(void* pointer) {
  return unsafe_call("cudaFree", [&]() -> cudaError_t {
    if (pointer == nullptr) return cudaSuccess;
    return DeviceMemory::instance().release(pointer) ? cudaSuccess : cudaErrorInvalidValue;
  });
}

extern "C" cudaError_t cudaMallocAsync(void** pointer, std::size_t size_bytes, cudaStream_t handle) {
  return call_on("cudaMallocAsync", handle, [&](const std::shared_ptr<Stream>& stream) -> cudaError_t {
    refuse_captured("cudaMallocAsync", *stream);
    const cudaError_t error = allocate(pointer, size_bytes);
    if (*pointer == nullptr) return error;
    return submit(stream, {"cudaMallocAsync", [start = *pointer] { DeviceMemory::instance().refresh(start); }});
  });
}

extern "C" cudaError_t cudaFreeAsync(void* pointer, cudaStream_t handle) {
  return call_on("cudaFreeAsync", handle, [&](const std::shared_ptr<Stream>& stream) -> cudaError_t {
    refuse_captured("cudaFreeAsync", *stream);
    if (pointer == nullptr) return cudaSuccess;
    return submit(stream, {"cudaFreeAsync", [pointer] {
                             if (!DeviceMemory::instance().release(pointer)) refuse("memory that is not allocated is freed");
                           }});
  });
}

extern "C" cudaError_t cudaMallocHost(void** pointer, std::size_t size_bytes) {
  return allocate_host("cudaMallocHost", pointer, size_bytes);
}

extern "C" cudaError_t cudaHostAlloc(void** pointer, std::size_t size_bytes, unsigned /*flags*/) {
  return allocate_host("cudaHostAlloc", pointer, size_bytes);
}

extern "C" cudaError_t cudaFreeHost(void* pointer) {
  return unsafe_call("cudaFreeHost", [&]() -> cudaError_t {
    if (pointer == nullptr) return cudaSuccess;
    return HostMemory::instance().release(pointer) ? cudaSuccess : cudaErrorInvalidValue;
  });
}

extern "C" cudaError_t cudaHostRegister(void* pointer, std::size_t size_bytes, unsigned /*flags*/) {
  return unsafe_call("cudaHostRegister", [&]() -> cudaError_t {
    if (pointer == nullptr || size_bytes == 0) return cudaErrorInvalidValue;
    const bool added = HostMemory::instance().add(pointer, size_bytes, current_device().index());
    return added ? cudaSuccess : cudaErrorHostMemoryAlreadyRegistered;
  });
}

extern "C" cudaError_t cudaHostUnregister(void* pointer) {
  return unsafe_call("cudaHostUnregister", [&]() -> cudaError_t {
    return HostMemory::instance().remove(pointer) ? cudaSuccess : cudaErrorHostMemoryNotRegistered;
  });
}

extern "C" cudaError_t cudaHostGetDevicePointer(void** device_pointer, void* pointer, unsigned /*flags*/) {
  return call("cudaHostGetDevicePointer", [&]() -> cudaError_t {
    if (!HostMemory::instance().find(pointer)) return cudaErrorInvalidValue;
    *device_pointer = pointer;
    return cudaSuccess;
  });
}

extern "C" cudaError_t cudaMemcpy(void* to, const void* from, std::size_t size_bytes, cudaMemcpyKind kind) {
  return unsafe_call("cudaMemcpy", [&]() -> cudaError_t {
    if (size_bytes == 0) return cudaSuccess;
    check_kind("cudaMemcpy", kind, place_of("cudaMemcpy", to, size_bytes), place_of("cudaMemcpy", from, size_bytes));
    check_apart("cudaMemcpy", to, from, size_bytes);
    drain_blocking_streams();
    const doubles::Shown shown;
    run({"cudaMemcpy", copy_of(to, from, size_bytes)}, current_device());
    return cudaSuccess;
  });
}

extern "C" cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t size_bytes, cudaMemcpyKind kind,
                                       cudaStream_t handle) {
  constexpr const char* kName = "cudaMemcpyAsync";
  return call_on(kName, handle, [&](const std::shared_ptr<Stream>& stream) -> cudaError_t {
    if (size_bytes == 0) return cudaSuccess;
    const Place target = place_of(kName, to, size_bytes), source = place_of(kName, from, size_bytes);
    check_kind(kName, kind, target, source);
    check_apart(kName, to, from, size_bytes);
    if (target == Place::pageable || source == Place::pageable) {
      refuse(std::string(kName) + ": " + range_text(target == Place::pageable ? to : from, size_bytes) +
             " of the host are not page-locked, so that the copy would make the host wait");
    }
    return submit(stream, {kName, copy_of(to, from, size_bytes)});
  });
}

extern "C" cudaError_t cudaMemset(void* /*pointer*/, int /*value*/, std::size_t /*size_bytes*/) {
  refuse("cudaMemset works in the default stream, which minim does not use");
}

extern "C" cudaError_t cudaMemsetAsync(void* pointer, int value, std::size_t size_bytes, cudaStream_t handle) {
  return call_on("cudaMemsetAsync", handle, [&](const std::shared_ptr<Stream>& stream) -> cudaError_t {
    if (size_bytes == 0) return cudaSuccess;
    if (place_of("cudaMemsetAsync", pointer, size_bytes) == Place::pageable) return cudaErrorInvalidValue;
    char* target = DeviceMemory::instance().alias(pointer);
    return submit(stream, {"cudaMemsetAsync", [=] { std::memset(target, value, size_bytes); }});
  });
}

extern "C" cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) {
  return call("cudaMemGetInfo", [&]() -> cudaError_t {
    *total_bytes = settings().memory_bytes;
    *free_bytes = *total_bytes - DeviceMemory::instance().used_bytes(current_device().index());
    return cudaSuccess;
  });
}

extern "C" cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  return call("cudaPointerGetAttributes", [&]() -> cudaError_t {
    *attributes = {};
    attributes->device = current_device().index();
    auto* address = const_cast<void*>(pointer);
    if (const auto piece = DeviceMemory::instance().find(pointer)) {
      attributes->type = cudaMemoryTypeDevice;
      attributes->device = piece->device;
      attributes->devicePointer = address;
    } else if (const auto host = HostMemory::instance().find(pointer)) {
      attributes->type = cudaMemoryTypeHost;
      attributes->device = host->device;
      attributes->devicePointer = address;
      attributes->hostPointer = address;
    } else {
      attributes->type = cudaMemoryTypeUnregistered;
      attributes->hostPointer = address;
    }
    return cudaSuccess;
  });
}

void* double_alias(const void* pointer) { return DeviceMemory::instance().alias(pointer); }
int double_is_device(const void* pointer) { return DeviceMemory::instance().contains(pointer) ? 1 : 0; }
