#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "minim/runtime/cuda.h"

namespace minim::cuda {

class CudaClock;

/// One device of this process, shared by its streams, events and memory. Thread-safe.
///
/// All that is enqueued on the device is numbered, so that a failure of one piece of work is told to what was enqueued after it
/// and to nothing else.
class CudaDevice {
 public:
  /// Throws DeviceError where there is no such device or it is older than minim's kernels.
  explicit CudaDevice(int index);
  ~CudaDevice();
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;

  int index() const { return index_; }
  const CudaDeviceInfo& info() const { return info_; }
  /// Bytes that an allocation may still take, others' use of the device included.
  std::int64_t free_bytes() const;

  /// The number of the next piece of work.
  std::uint64_t next_number() { return number_.fetch_add(1) + 1; }
  /// Remembers the failure of piece `number`; the first stays.
  void fail(std::uint64_t number, std::exception_ptr failure);
  /// What failed before piece `number` was enqueued; null when nothing did.
  std::exception_ptr failure_before(std::uint64_t number) const;

  /// Tells the times of events that share the clock; the clock is made anew when all of them have gone.
  std::shared_ptr<CudaClock> clock();

  /// Returns memory of `cudaMalloc` or `cudaHostAlloc`. Inside a host function, where CUDA cannot be called, that is put off
  /// until the next allocation.
  void release(void* memory, bool on_host) noexcept;
  /// Returns what was put off.
  void release_deferred() noexcept;

 private:
  struct Deferred {
    void* memory;
    bool on_host;
  };

  int index_;
  CudaDeviceInfo info_;
  std::atomic<std::uint64_t> number_{0};
  mutable std::mutex mutex_;  // of what follows
  std::uint64_t failed_number_ = 0;
  std::exception_ptr failure_;
  std::vector<Deferred> deferred_;
  std::weak_ptr<CudaClock> clock_;
};

/// Makes `device` the calling thread's current device for as long as this lives: launches, allocations and the creation of
/// streams and events go to the current one.
class DeviceScope {
 public:
  explicit DeviceScope(const CudaDevice& device);
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  int previous_ = -1;  // -1: nothing to restore
};

}  // namespace minim::cuda
