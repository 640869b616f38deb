#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>

namespace minim::detail {

/// Happens once, with or without a failure. Thread-safe.
class EventState {
 public:
  bool done() const { return done_.load(std::memory_order_acquire); }
  /// Blocks until the event has happened; returns the failure, or null.
  std::exception_ptr wait() const;
  bool wait_for(std::chrono::microseconds timeout) const;
  /// The first call counts, later ones change nothing.
  void finish(std::exception_ptr failure);

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::atomic<bool> done_{false};
  std::exception_ptr failure_;  // written before done_, never after
};

}  // namespace minim::detail
