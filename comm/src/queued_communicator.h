#pragma once

#include <chrono>
#include <deque>
#include <exception>
#include <functional>
#include <memory>

#include "backoff.h"
#include "collective.h"
#include "minim/comm/communicator.h"

namespace minim::detail {

/// Queues collectives and drives them in order. What a collective does, and how a group notices trouble, is up to derived
/// classes.
class QueuedCommunicator : public Communicator {
 public:
  /// What is still queued fails, so that nobody waits for its events for ever.
  ~QueuedCommunicator() override;

  void progress() final;
  void keep_alive() final;

 protected:
  using Clock = std::chrono::steady_clock;

  explicit QueuedCommunicator(bool crowded) : crowded_(crowded) {}

  Work submit(Request request) final;
  void wait_for(const Collective& collective) final;
  /// Drives the queue until `collective` has completed, or until `enough()`. Throws what ends the group.
  void drive(const Collective& collective, const std::function<bool()>& enough);
  /// Whether the collective is the one that is being driven.
  bool is_first(const Collective& collective) const { return !queue_.empty() && queue_.front().get() == &collective; }

  /// The steps of a collective whose turn it is and whose inputs are ready.
  virtual Steps start(const Collective& collective) = 0;
  /// Throws CommError when the node has failed elsewhere. Called at every poll that found nothing to do.
  virtual void check_node() = 0;
  /// Throws CommError when another node says so. Called now and then.
  virtual void check_other_nodes() = 0;
  /// Shows the others that this rank is at work. Throws CommError when another node has failed.
  virtual void show_work() = 0;
  /// Whether a rank that has still to come has shown since the last call that it is at work.
  virtual bool peers_at_work() = 0;
  /// Throws CommError when it is time to give up on peers that have been silent for so long in a collective that has begun.
  virtual void check_peers(const Collective& collective, Clock::duration silent) = 0;
  /// This rank has failed with `reason`; called once, while what is queued still exists. Tells the others.
  virtual void spread_failure(const std::string& reason) noexcept = 0;

  /// Fails everything that is queued and all that follows, unless that has happened already.
  void fail(std::exception_ptr failure, const std::string& reason);
  bool failed() const { return failure_ != nullptr; }
  bool idle() const { return queue_.empty(); }

 private:
  Advance step();
  Advance advance_head();
  void check_input(const Collective& collective);
  void watch();

  std::deque<std::shared_ptr<Collective>> queue_;
  std::exception_ptr failure_;
  Clock::time_point silent_since_;  // the last movement, or the last sign of work
  bool silence_timed_ = false;  // silent_since_ is set when silence is first looked at: a quick collective reads no clock
  bool crowded_;
};

}  // namespace minim::detail
