#include "cuda/cuda_backend.h"

#include <fmt/format.h>

#include <mutex>

#include "cuda/check.h"
#include "cuda/cuda_memory.h"
#include "cuda/cuda_stream.h"
#include "cuda/kernels.h"

namespace minim::cuda {
namespace {

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const CudaOptions& options) : device_(std::make_shared<CudaDevice>(options.device)) {
    copies_ = make_cuda_stream(device_, "copies");
  }

  std::string_view name() const override { return "cuda"; }
  bool host_accessible() const override { return false; }

  Buffer allocate(std::int64_t size_bytes, MemoryKind kind) override {
    return allocate_on_device(device_, size_bytes, kind, memory());
  }
  Buffer allocate_host(std::int64_t size_bytes, MemoryKind kind) override {
    return allocate_on_host(device_, size_bytes, kind, memory());
  }
  std::unique_ptr<Stream> make_stream(std::string name) override { return make_cuda_stream(device_, std::move(name)); }

  void copy(TensorView to, ConstTensorView from) override {
    const std::scoped_lock lock(mutex_);
    copies_->copy(to, from);
    check(cudaStreamSynchronize(handle_of(*copies_)), "cudaStreamSynchronize");  // also after host functions have failed
  }

 private:
  std::shared_ptr<CudaDevice> device_;
  std::mutex mutex_;  // a copy waits for its own work alone
  std::unique_ptr<Stream> copies_;
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

CudaDeviceInfo device_info(int device) { return CudaDevice(device).info(); }

std::unique_ptr<Backend> make_backend(const CudaOptions& options) {
  std::string reason;
  if (device_count(reason) == 0) throw DeviceError(reason);
  auto backend = std::make_unique<CudaBackend>(options);
  add_relu_kernels(*backend);
  add_sum_kernels(*backend);
  add_cast_kernels(*backend);
  add_state_kernels(*backend);
  add_concat_kernels(*backend);
  add_dropout_kernels(*backend);
  add_global_average_pool_kernels(*backend);
  add_pooling_kernels(*backend);
  add_batch_norm_kernels(*backend);
  add_batch_norm_backward_kernels(*backend);
  add_loss_kernels(*backend);
  return backend;
}

}  // namespace minim::cuda
