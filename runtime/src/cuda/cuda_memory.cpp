#include "cuda/cuda_memory.h"

#include <fmt/format.h>

#include <algorithm>

#include "cuda/check.h"
#include "minim/runtime/error.h"

namespace minim::cuda {
namespace {

/// At least one byte, so that an empty tensor has an address, too.
std::size_t reserved_bytes(std::int64_t size_bytes) {
  if (size_bytes < 0) throw InvalidArgument(fmt::format("{} bytes of memory: 0 or more is wanted", size_bytes));
  return static_cast<std::size_t>(std::max<std::int64_t>(size_bytes, 1));
}

Buffer own(void* memory, bool on_host, const std::shared_ptr<CudaDevice>& device, std::int64_t size_bytes, MemoryKind kind,
           const std::shared_ptr<MemoryAccount>& account) {
  return {memory, size_bytes, kind, account, [device, on_host](void* data) { device->release(data, on_host); }};
}

}  // namespace

Buffer allocate_on_device(const std::shared_ptr<CudaDevice>& device, std::int64_t size_bytes, MemoryKind kind,
                          const std::shared_ptr<MemoryAccount>& account) {
  const std::size_t reserved = reserved_bytes(size_bytes);
  device->release_deferred();
  const DeviceScope scope(*device);
  void* memory = nullptr;
  const cudaError_t status = cudaMalloc(&memory, reserved);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw DeviceError(fmt::format("CUDA device {} has no {} bytes of memory for {}: {} bytes are free, {} bytes are in use here",
                                  device->index(), size_bytes, name(kind), device->free_bytes(), account->in_use_bytes()));
  }
  check(status, "cudaMalloc");
  return own(memory, false, device, size_bytes, kind, account);
}

Buffer allocate_on_host(const std::shared_ptr<CudaDevice>& device, std::int64_t size_bytes, MemoryKind kind,
                        const std::shared_ptr<MemoryAccount>& account) {
  const std::size_t reserved = reserved_bytes(size_bytes);
  device->release_deferred();
  const DeviceScope scope(*device);
  void* memory = nullptr;
  const cudaError_t status = cudaHostAlloc(&memory, reserved, cudaHostAllocPortable);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw DeviceError(fmt::format("the host has no {} bytes of page-locked memory for {}", size_bytes, name(kind)));
  }
  check(status, "cudaHostAlloc");
  return own(memory, true, device, size_bytes, kind, account);
}

cudaMemoryType memory_type(const void* address) {
  cudaPointerAttributes attributes{};
  check(cudaPointerGetAttributes(&attributes, address), "cudaPointerGetAttributes");
  return attributes.type;
}

}  // namespace minim::cuda
