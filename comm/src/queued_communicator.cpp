#include "queued_communicator.h"

#include <fmt/format.h>

#include "minim/runtime/error.h"

namespace minim::detail {
namespace {

/// How long a failure elsewhere may go unnoticed while this rank computes.
constexpr std::chrono::milliseconds kLongestBlindWait{1};

}  // namespace

QueuedCommunicator::~QueuedCommunicator() {
  for (const auto* collectives : {&on_device_, &queue_}) {
    for (const auto& collective : *collectives) {
      const std::string text =
          fmt::format("{}: the communicator was destroyed before it had completed", collective->signature().title());
      collective->fail(std::make_exception_ptr(CommError(text)));
    }
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
  drive([&] { return collective.done(); });
}

void QueuedCommunicator::drive_to_device(const Collective& collective) {
  drive([&] { return collective.done() || collective.rest(); });
}

template <class Enough>
void QueuedCommunicator::drive(const Enough& enough) {
  Backoff backoff(crowded_);
  while (!enough()) {
    if (step() == Advance::waiting) {
      wait_a_moment(backoff);
    } else {
      backoff.reset();
    }
  }
}

void QueuedCommunicator::wait_a_moment(Backoff& backoff) {
  // Where kernels are what is waited for, the core belongs to them until they are through.
  if (!queue_.empty() && !queue_.front()->begun()) {
    queue_.front()->request().options.after.wait_for(kLongestBlindWait);
  } else if (queue_.empty() && !on_device_.empty()) {
    on_device_.front()->rest()->wait_for(kLongestBlindWait);
  } else if (!backoff.pause()) {
    return;
  }
  watch();
}

Advance QueuedCommunicator::step() {
  if (failure_) std::rethrow_exception(failure_);
  try {
    Advance advance = queue_.empty() ? Advance::waiting : advance_head();
    if (complete_rest()) advance = Advance::moved;
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
    if (head.request().options.after.done()) {
      check_input(head);
    } else if (!begins_early(head)) {
      return Advance::waiting;
    }
    check_node();  // peers that have given up do not come back for this one
    check_other_nodes();
    ++begun_;
    head.begin(start(head), begun_);
  }
  const Advance advance = head.advance();
  if (advance == Advance::completed) {
    auto rest = this->rest();
    if (!rest && !on_device_.empty()) rest.emplace();  // completes with those before
    if (rest) {
      head.leave_to_device(*std::move(rest));
      on_device_.push_back(queue_.front());
    } else {
      head.complete();
    }
    queue_.pop_front();
  }
  return advance;
}

/// Completes what devices have done the rest of. False when there is nothing new.
bool QueuedCommunicator::complete_rest() {
  bool moved = false;
  for (; !on_device_.empty() && on_device_.front()->rest()->done() && device_is_sound(); on_device_.pop_front()) {
    Collective& collective = *on_device_.front();
    try {
      collective.rest()->wait();
    } catch (const DeviceError& error) {
      throw DeviceError(fmt::format("rank {} in {}: {}", rank(), collective.signature().title(), error.what()));
    }
    collective.complete();
    moved = true;
  }
  return moved;
}

/// The collective in which peers may be missing; null when this rank itself is not there yet.
const Collective* QueuedCommunicator::awaits_peers() {
  if (!queue_.empty() && queue_.front()->begun()) return queue_.front().get();
  if (on_device_.empty() || !on_device_.front()->request().options.after.done()) return nullptr;
  show_input_ready(*on_device_.front());
  return on_device_.front().get();
}

void QueuedCommunicator::watch() {
  try {
    check_other_nodes();
    const Collective* const awaited = awaits_peers();
    if (awaited == nullptr) {
      silence_timed_ = false;
      return;
    }
    const auto now = Clock::now();
    if (peers_at_work() || !silence_timed_) {
      silent_since_ = now;
      silence_timed_ = true;
    }
    check_peers(*awaited, now - silent_since_);
  } catch (const std::exception& error) {
    fail(std::current_exception(), error.what());
    throw;
  }
}

void QueuedCommunicator::fail(std::exception_ptr failure, const std::string& reason) {
  if (failure_) return;
  failure_ = std::move(failure);
  spread_failure(reason);  // first: until then peers may read what the steps hold
  for (auto* collectives : {&on_device_, &queue_}) {
    for (const auto& collective : *collectives) collective->fail(failure_);
    collectives->clear();
  }
}

}  // namespace minim::detail
