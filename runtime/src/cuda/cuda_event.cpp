#include "cuda/cuda_event.h"

#include <algorithm>
#include <thread>

#include "cuda/check.h"
#include "minim/runtime/error.h"

namespace minim::cuda {

CudaEventState::CudaEventState(std::shared_ptr<CudaDevice> device) : device_(std::move(device)) {
  const DeviceScope scope(*device_);
  // Who waits sleeps: the cores are for data and communication.
  check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming | cudaEventBlockingSync), "cudaEventCreateWithFlags");
}

CudaEventState::~CudaEventState() { cudaEventDestroy(event_); }

void CudaEventState::record(cudaStream_t stream) {
  number_ = device_->next_number();
  check(cudaEventRecord(event_, stream), "cudaEventRecord");
}

bool CudaEventState::done() const {
  const cudaError_t status = cudaEventQuery(event_);
  if (status == cudaErrorNotReady) cudaGetLastError();
  return status != cudaErrorNotReady;
}

std::exception_ptr CudaEventState::wait() const { return failure(cudaEventSynchronize(event_), "cudaEventSynchronize"); }

bool CudaEventState::wait_for(std::chrono::microseconds timeout) const {
  constexpr std::chrono::microseconds kLongestSleep{100};
  const auto end = std::chrono::steady_clock::now() + timeout;
  for (std::chrono::microseconds sleep{1}; !done(); sleep = std::min(2 * sleep, kLongestSleep)) {
    if (std::chrono::steady_clock::now() >= end) return false;
    std::this_thread::sleep_for(sleep);
  }
  return true;
}

void CudaEventState::finish(std::exception_ptr /*failure*/) {
  throw InvalidArgument("an event of a CUDA stream cannot be set: the device makes it happen");
}

std::exception_ptr CudaEventState::failure(cudaError_t status, const char* call) const {
  try {
    check(status, call);
  } catch (...) {
    return std::current_exception();
  }
  return device_->failure_before(number_);
}

}  // namespace minim::cuda
