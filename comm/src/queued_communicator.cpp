#include "queued_communicator.h"

#include "minim/runtime/error.h"

namespace minim::detail {

Work QueuedCommunicator::submit(Request request) {
  auto collective = std::make_shared<Collective>(std::move(request));
  if (failure_) {
    collective->fail(failure_);
  } else {
    queue_.push_back(collective);
  }
  return {this, std::move(collective)};
}

void QueuedCommunicator::progress() {
  if (step() == Advance::waiting) watch();
}

void QueuedCommunicator::wait_for(const Collective& collective) {
  Backoff backoff(crowded_);
  while (!collective.done()) {
    if (step() != Advance::waiting) {
      backoff.reset();
      continue;
    }
    const bool begun = !queue_.empty() && queue_.front()->begun();
    if (backoff.pause(begun ? Backoff::For::peers : Backoff::For::own_device)) watch();
  }
}

Advance QueuedCommunicator::step() {
  if (failure_) std::rethrow_exception(failure_);
  try {
    const Advance advance = queue_.empty() ? Advance::waiting : advance_head();
    if (advance == Advance::waiting) {
      check_group();
    } else {
      silence_timed_ = false;
    }
    return advance;
  } catch (const std::exception& error) {
    fail(std::current_exception(), error.what());
    throw;
  }
}

Advance QueuedCommunicator::advance_head() {
  Collective& head = *queue_.front();
  if (!head.begun()) {
    const Event& after = head.request().options.after;
    if (!after.done()) return Advance::waiting;
    after.wait();  // rethrows what failed before it
    head.begin(start(head));
  }
  const Advance advance = head.advance();
  if (advance == Advance::completed) {
    head.complete();
    queue_.pop_front();
  }
  return advance;
}

void QueuedCommunicator::watch() {
  if (queue_.empty() || !queue_.front()->begun()) return;
  const auto now = Clock::now();
  if (!silence_timed_) {
    silent_since_ = now;
    silence_timed_ = true;
  }
  try {
    check_peers(*queue_.front(), now - silent_since_);
  } catch (const std::exception& error) {
    fail(std::current_exception(), error.what());
    throw;
  }
}

void QueuedCommunicator::fail(std::exception_ptr failure, const std::string& reason) {
  if (failure_) return;
  failure_ = std::move(failure);
  for (const auto& collective : queue_) collective->fail(failure_);
  queue_.clear();
  spread_failure(reason);
}

}  // namespace minim::detail
