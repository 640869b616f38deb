#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <mutex>

#include "cuda/cuda_device.h"
#include "minim/runtime/trace.h"

namespace minim::cuda {

/// A device's events on the host's clock. The two are compared when the first time is asked for, so that a step that is traced is
/// not held up; exact to half of what an event takes to be recorded and noticed. Thread-safe.
class CudaClock {
 public:
  /// Of an event of `device`, which has happened.
  std::int64_t nanoseconds(const std::shared_ptr<CudaDevice>& device, cudaEvent_t event);
  ~CudaClock();

 private:
  void compare(const std::shared_ptr<CudaDevice>& device);

  std::mutex mutex_;
  cudaEvent_t compared_ = nullptr;
  std::int64_t compared_at_ = 0;  // on the host's clock, in nanoseconds
};

/// When all that `stream`, which belongs to `device`, has been given so far has run.
std::shared_ptr<const TimePoint> record_cuda_time(std::shared_ptr<CudaDevice> device, cudaStream_t stream);

}  // namespace minim::cuda
