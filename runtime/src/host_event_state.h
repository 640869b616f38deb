#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>

#include "minim/runtime/event_state.h"

namespace minim::detail {

/// An event that a thread of the host makes happen.
class HostEventState final : public EventState {
 public:
  bool done() const override { return done_.load(std::memory_order_acquire); }
  std::exception_ptr wait() const override;
  bool wait_for(std::chrono::microseconds timeout) const override;
  void finish(std::exception_ptr failure) override;

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::atomic<bool> done_{false};
  std::exception_ptr failure_;  // written before done_, never after
};

}  // namespace minim::detail
