#include <utility>

#include "host_event_state.h"
#include "minim/runtime/error.h"
#include "minim/runtime/stream.h"

namespace minim {
namespace detail {

std::exception_ptr HostEventState::wait() const {
  if (!done()) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return done(); });
  }
  return failure_;
}

bool HostEventState::wait_for(std::chrono::microseconds timeout) const {
  if (done()) return true;
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, timeout, [this] { return done(); });
}

void HostEventState::finish(std::exception_ptr failure) {
  const std::scoped_lock lock(mutex_);
  if (done()) return;
  failure_ = std::move(failure);
  done_.store(true, std::memory_order_release);
  changed_.notify_all();
}

}  // namespace detail

Event Event::manual() { return Event(std::make_shared<detail::HostEventState>()); }

bool Event::done() const { return !state_ || state_->done(); }

void Event::wait() const {
  if (!state_) return;
  if (const std::exception_ptr failure = state_->wait()) std::rethrow_exception(failure);
}

bool Event::wait_for(std::chrono::microseconds timeout) const { return !state_ || state_->wait_for(timeout); }

void Event::set() const {
  if (!state_) throw InvalidArgument("an event that has always happened cannot be set");
  state_->finish(nullptr);
}

void Event::fail(std::exception_ptr failure) const {
  if (!state_) throw InvalidArgument("an event that has always happened cannot fail");
  state_->finish(std::move(failure));
}

}  // namespace minim
