#pragma once

#include <cuda_runtime_api.h>

#include <memory>

#include "cuda/cuda_device.h"
#include "minim/runtime/memory.h"

namespace minim::cuda {

/// Memory of the device, uninitialised. Throws DeviceError that says what was wanted and what is left.
Buffer allocate_on_device(const std::shared_ptr<CudaDevice>& device, std::int64_t size_bytes, MemoryKind kind,
                          const std::shared_ptr<MemoryAccount>& account);

/// Page-locked memory of the host, which streams copy from and to without the host.
Buffer allocate_on_host(const std::shared_ptr<CudaDevice>& device, std::int64_t size_bytes, MemoryKind kind,
                        const std::shared_ptr<MemoryAccount>& account);

/// Whose memory `address` lies in; ordinary memory of the host is cudaMemoryTypeUnregistered.
cudaMemoryType memory_type(const void* address);

}  // namespace minim::cuda
