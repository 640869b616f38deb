#include "cuda/cuda_time.h"

#include <chrono>
#include <limits>
#include <utility>

#include "cuda/check.h"
#include "cuda/cuda_stream.h"

namespace minim::cuda {
namespace {

std::int64_t host_nanoseconds() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

class CudaTime final : public TimePoint {
 public:
  explicit CudaTime(std::shared_ptr<CudaDevice> device) : device_(std::move(device)), clock_(device_->clock()) {
    const DeviceScope scope(*device_);
    check(cudaEventCreate(&event_), "cudaEventCreate");
  }
  ~CudaTime() override { cudaEventDestroy(event_); }

  void record(cudaStream_t stream) { check(cudaEventRecord(event_, stream), "cudaEventRecord"); }
  std::int64_t nanoseconds() const override { return clock_->nanoseconds(device_, event_); }

 private:
  std::shared_ptr<CudaDevice> device_;
  std::shared_ptr<CudaClock> clock_;
  cudaEvent_t event_ = nullptr;
};

}  // namespace

CudaClock::~CudaClock() {
  if (compared_ != nullptr) cudaEventDestroy(compared_);
}

std::int64_t CudaClock::nanoseconds(const std::shared_ptr<CudaDevice>& device, cudaEvent_t event) {
  check(cudaEventSynchronize(event), "cudaEventSynchronize");
  const std::scoped_lock lock(mutex_);
  if (compared_ == nullptr) compare(device);
  float milliseconds = 0;  // exact to 60 ns within a second
  check(cudaEventElapsedTime(&milliseconds, event, compared_), "cudaEventElapsedTime");
  return compared_at_ - static_cast<std::int64_t>(1e6 * static_cast<double>(milliseconds));
}

void CudaClock::compare(const std::shared_ptr<CudaDevice>& device) {
  // The host may be interrupted in between, so that the quickest of some comparisons counts.
  constexpr int kComparisons = 16;
  const DeviceScope scope(*device);
  const auto stream = make_cuda_stream(device, "clock");
  std::int64_t shortest = std::numeric_limits<std::int64_t>::max();
  for (int i = 0; i < kComparisons; ++i) {
    cudaEvent_t event = nullptr;
    check(cudaEventCreate(&event), "cudaEventCreate");
    const std::int64_t before = host_nanoseconds();
    check(cudaEventRecord(event, handle_of(*stream)), "cudaEventRecord");
    check(cudaEventSynchronize(event), "cudaEventSynchronize");
    const std::int64_t took = host_nanoseconds() - before;
    if (took < shortest) {
      shortest = took;
      compared_at_ = before + took / 2;
      std::swap(event, compared_);
    }
    if (event != nullptr) cudaEventDestroy(event);
  }
}

std::shared_ptr<const TimePoint> record_cuda_time(std::shared_ptr<CudaDevice> device, cudaStream_t stream) {
  auto time = std::make_shared<CudaTime>(std::move(device));
  time->record(stream);
  return time;
}

}  // namespace minim::cuda
