#include "cuda/cuda_backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <mutex>

#include "cuda/check.h"
#include "cuda/cuda_memory.h"
#include "cuda/cuda_stream.h"
#include "cuda/kernels.h"

namespace minim::cuda {
namespace {

/// Whether it is ordinary memory of the host, which no copy engine reaches.
bool pageable(const void* address) { return memory_type(address) == cudaMemoryTypeUnregistered; }

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const CudaOptions& options)
      : device_(std::make_shared<CudaDevice>(options.device)), graphs_(options.graphs) {
    copies_ = make_cuda_stream(device_, "copies");
  }

  const std::shared_ptr<CudaDevice>& device() const { return device_; }

  std::string_view name() const override { return "cuda"; }
  bool host_accessible() const override { return false; }
  bool on_device(const void* address) const override { return memory_type(address) == cudaMemoryTypeDevice; }

  Buffer allocate(std::int64_t size_bytes, MemoryKind kind) override {
    return allocate_on_device(device_, size_bytes, kind, memory());
  }
  Buffer allocate_host(std::int64_t size_bytes, MemoryKind kind) override {
    return allocate_on_host(device_, size_bytes, kind, memory());
  }
  std::unique_ptr<Stream> make_stream(std::string name) override {
    return make_cuda_stream(device_, std::move(name), StreamPriority::normal, graphs_);
  }

  void copy(TensorView to, ConstTensorView from) override {
    minim::detail::check_copy(to, from);
    if (to.size_bytes() == 0) return;
    const std::scoped_lock lock(mutex_);
    const bool from_pageable = pageable(from.raw()), to_pageable = pageable(to.raw());
    if (!from_pageable && !to_pageable) {
      copy_and_wait(to.raw(), from.raw(), to.size_bytes());
      return;
    }
    if (!staging_) staging_ = allocate_on_host(device_, kStagingBytes, MemoryKind::staging, std::make_shared<MemoryAccount>());
    auto* target = static_cast<std::byte*>(to.raw());
    const auto* source = static_cast<const std::byte*>(from.raw());
    for (std::int64_t done = 0; done < to.size_bytes(); done += kStagingBytes) {
      const std::int64_t part = std::min(kStagingBytes, to.size_bytes() - done);
      if (from_pageable) {
        std::memcpy(staging_.data(), source + done, static_cast<std::size_t>(part));
      } else {
        copy_and_wait(staging_.data(), source + done, part);
      }
      if (to_pageable) {
        std::memcpy(target + done, staging_.data(), static_cast<std::size_t>(part));
      } else {
        copy_and_wait(target + done, staging_.data(), part);
      }
    }
  }

 private:
  static constexpr std::int64_t kStagingBytes = std::int64_t{4} << 20U;

  void copy_and_wait(void* to, const void* from, std::int64_t size_bytes) {
    const cudaStream_t stream = handle_of(*copies_);
    check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(size_bytes), cudaMemcpyDefault, stream), "cudaMemcpyAsync");
    check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  }

  std::shared_ptr<CudaDevice> device_;
  CudaGraphs graphs_;
  std::mutex mutex_;  // of what follows
  std::unique_ptr<Stream> copies_;
  Buffer staging_;  // of the backend itself: no tensor's, so booked nowhere
};

}  // namespace

int device_count(std::string& reason) {
  int devices = 0;
  const cudaError_t status = cudaGetDeviceCount(&devices);
  if (status == cudaSuccess && devices > 0) return devices;
  cudaGetLastError();
  if (status == cudaSuccess || status == cudaErrorNoDevice) {
    reason = "CUDA finds no device that this process may use";
  } else if (status == cudaErrorInsufficientDriver) {
    reason = fmt::format("there is no NVIDIA driver, or one that is older than CUDA {}.{} wants", CUDART_VERSION / 1000,
                         CUDART_VERSION % 1000 / 10);
  } else {
    reason = fmt::format("CUDA cannot look for devices, error {}: {}", static_cast<int>(status), cudaGetErrorString(status));
  }
  return 0;
}

CudaDeviceInfo device_info(int index) {
  const CudaDevice device(index);
  CudaDeviceInfo info = device.info();
  info.free_bytes = device.free_bytes();
  return info;
}

void add_own_kernels(Backend& backend) {
  add_relu_kernels(backend);
  add_sum_kernels(backend);
  add_cast_kernels(backend);
  add_state_kernels(backend);
  add_concat_kernels(backend);
  add_dropout_kernels(backend);
  add_global_average_pool_kernels(backend);
  add_local_response_norm_kernels(backend);
  add_nonlinearity_kernels(backend);
  add_pooling_kernels(backend);
  add_batch_norm_kernels(backend);
  add_batch_norm_backward_kernels(backend);
  add_layer_norm_kernels(backend);
  add_embedding_kernels(backend);
  add_bias_kernels(backend);
  add_loss_kernels(backend);
  add_exponent_kernels(backend);
}

std::unique_ptr<Backend> make_backend(const CudaOptions& options) {
  std::string reason;
  if (device_count(reason) == 0) throw DeviceError(reason);
  auto backend = std::make_unique<CudaBackend>(options);
  add_own_kernels(*backend);
  add_convolution_kernels(*backend, backend->device(), options);
  add_linear_kernels(*backend, backend->device());
  return backend;
}

std::shared_ptr<CudaDevice> device_of(Backend& backend) {
  const auto* const found = dynamic_cast<const CudaBackend*>(&backend);
  if (found == nullptr) throw InvalidArgument(fmt::format("backend \"{}\" does not compute on a CUDA device", backend.name()));
  return found->device();
}

}  // namespace minim::cuda
