#include "queued_communicator.h"

#include <fmt/format.h>

#include "minim/runtime/error.h"

namespace minim::detail {
namespace {

/// How long a failure elsewhere may go unnoticed while this rank computes.
constexpr std::chrono::milliseconds kLongestBlindWait{1};

}  // namespace

QueuedCommunicator::~QueuedCommunicator() {
  for (const auto& collective : queue_) {
    const std::string text =
        fmt::format("{}: the communicator was destroyed before it had completed", collective->signature().title());
    collective->fail(std::make_exception_ptr(CommError(text)));
  }
}

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

void QueuedCommunicator::keep_alive() {
  if (failure_) std::rethrow_exception(failure_);
  try {
    check_node();
    show_work();
  } catch (const std::exception& error) {
    fail(std::current_exception(), error.what());
    throw;
  }
}

void QueuedCommunicator::wait_for(const Collective& collective) {
  drive(collective, [] { return false; });
}

void QueuedCommunicator::drive(const Collective& collective, const std::function<bool()>& enough) {
  Backoff backoff(crowded_);
  while (!collective.done() && !enough()) {
    if (step() != Advance::waiting) {
      backoff.reset();
      continue;
    }
    if (!queue_.empty() && !queue_.front()->begun()) {
      // The core belongs to this rank's kernels until they are through.
      queue_.front()->request().options.after.wait_for(kLongestBlindWait);
      watch();
    } else if (backoff.pause()) {
      watch();
    }
  }
}

Advance QueuedCommunicator::step() {
  if (failure_) std::rethrow_exception(failure_);
  try {
    const Advance advance = queue_.empty() ? Advance::waiting : advance_head();
    if (advance == Advance::waiting) {
      check_node();
    } else {
      silence_timed_ = false;
    }
    return advance;
  } catch (const std::exception& error) {
    fail(std::current_exception(), error.what());
    throw;
  }
}

/// Rethrows what failed before the `after` event of a collective, and gives the others that reason with a name to it.
void QueuedCommunicator::check_input(const Collective& collective) {
  try {
    collective.request().options.after.wait();
  } catch (const std::exception& error) {
    fail(std::current_exception(),
         fmt::format("rank {} cannot start {}: {}", rank(), collective.signature().title(), error.what()));
    throw;
  }
}

Advance QueuedCommunicator::advance_head() {
  Collective& head = *queue_.front();
  if (!head.begun()) {
    if (!head.request().options.after.done()) return Advance::waiting;
    check_input(head);
    check_node();  // peers that have given up do not come back for this one
    check_other_nodes();
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
  try {
    check_other_nodes();
    if (queue_.empty() || !queue_.front()->begun()) return;
    const auto now = Clock::now();
    if (peers_at_work() || !silence_timed_) {
      silent_since_ = now;
      silence_timed_ = true;
    }
    check_peers(*queue_.front(), now - silent_since_);
  } catch (const std::exception& error) {
    fail(std::current_exception(), error.what());
    throw;
  }
}

void QueuedCommunicator::fail(std::exception_ptr failure, const std::string& reason) {
  if (failure_) return;
  failure_ = std::move(failure);
  spread_failure(reason);  // first: until then peers may read what the steps hold
  for (const auto& collective : queue_) collective->fail(failure_);
  queue_.clear();
}

}  // namespace minim::detail
