#pragma once

#include <chrono>
#include <exception>

namespace minim::detail {

/// What an Event refers to: happens once, with or without a failure. Thread-safe. Each kind of stream has one of its own, so that
/// a stream can tell the events of its own device from others.
class EventState {
 public:
  virtual ~EventState() = default;

  virtual bool done() const = 0;
  /// Blocks until the event has happened; returns the failure, or null.
  virtual std::exception_ptr wait() const = 0;
  /// Blocks for at most `timeout`. True when the event has happened.
  virtual bool wait_for(std::chrono::microseconds timeout) const = 0;
  /// Makes it happen, where the host does that. The first call counts, later ones change nothing.
  virtual void finish(std::exception_ptr failure) = 0;

 protected:
  EventState() = default;
  EventState(const EventState&) = delete;
  EventState& operator=(const EventState&) = delete;
};

}  // namespace minim::detail
