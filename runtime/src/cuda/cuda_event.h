#pragma once

#include <cuda_runtime_api.h>

#include <memory>

#include "cuda/cuda_device.h"
#include "minim/runtime/event_state.h"

namespace minim::cuda {

/// A point in the order of a stream of `device`.
class CudaEventState final : public detail::EventState {
 public:
  explicit CudaEventState(std::shared_ptr<CudaDevice> device);
  ~CudaEventState() override;

  /// Happens when all that `stream` has been given so far has run. Once, right after construction.
  void record(cudaStream_t stream);
  cudaEvent_t handle() const { return event_; }

  bool done() const override;
  std::exception_ptr wait() const override;
  bool wait_for(std::chrono::microseconds timeout) const override;
  /// Throws InvalidArgument: only the device makes it happen.
  void finish(std::exception_ptr failure) override;

 private:
  std::exception_ptr failure(cudaError_t status, const char* call) const;

  std::shared_ptr<CudaDevice> device_;
  cudaEvent_t event_ = nullptr;
  std::uint64_t number_ = 0;
};

}  // namespace minim::cuda
