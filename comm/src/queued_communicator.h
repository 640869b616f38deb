#pragma once

#include <chrono>
#include <deque>
#include <exception>
#include <memory>
#include <optional>

#include "backoff.h"
#include "collective.h"
#include "minim/comm/communicator.h"

namespace minim::detail {

/// Queues collectives and drives them in order. What a collective does, and how a group notices trouble, is up to derived
/// classes. Where a device has the rest of a collective to do, the next one begins meanwhile.
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
  /// Drives the queue until `collective` has completed or, at the latest, a device has the rest of it to do. Throws what ends the
  /// group.
  void drive_to_device(const Collective& collective);

  /// Whether the collective begins before its inputs are ready, since a device will wait for them.
  virtual bool begins_early(const Collective& /*collective*/) { return false; }
  /// The steps of a collective whose turn it is and whose inputs are ready, unless it begins early.
  virtual Steps start(const Collective& collective) = 0;
  /// What a device has still to do of the collective whose steps have come to their end.
  virtual std::optional<Event> rest() { return std::nullopt; }
  /// Whether what has ended on the device has ended well, as far as can be told. Throws what ends the group.
  virtual bool device_is_sound() { return true; }
  /// A device has the input of this collective ready, and waits for those of the other ranks. Called again and again.
  virtual void show_input_ready(const Collective& /*collective*/) {}
  /// Throws CommError when the node has failed elsewhere. Called at every poll that found nothing to do.
  virtual void check_node() = 0;
  /// Throws CommError when another node says so. Called now and then.
  virtual void check_other_nodes() = 0;
  /// Shows the others that this rank is at work. Throws CommError when another node has failed.
  virtual void show_work() = 0;
  /// Whether a rank that has still to come has shown since the last call that it is at work.
  virtual bool peers_at_work() = 0;
  /// Throws CommError when it is time to give up on peers that have been silent for so long in a collective that has begun, or
  /// that a device has been at for so long.
  virtual void check_peers(const Collective& collective, Clock::duration silent) = 0;
  /// This rank has failed with `reason`; called once, while what is queued still exists. Tells the others.
  virtual void spread_failure(const std::string& reason) noexcept = 0;

  /// Fails everything that is queued and all that follows, unless that has happened already.
  void fail(std::exception_ptr failure, const std::string& reason);
  bool failed() const { return failure_ != nullptr; }
  /// Collectives that have begun, the present one counted: its number, the same on all ranks.
  std::uint64_t begun() const { return begun_; }
  bool idle() const { return queue_.empty() && on_device_.empty(); }

 private:
  template <class Enough>
  void drive(const Enough& enough);
  void wait_a_moment(Backoff& backoff);
  Advance step();
  Advance advance_head();
  bool complete_rest();
  const Collective* awaits_peers();
  void check_input(const Collective& collective);
  void watch();

  std::deque<std::shared_ptr<Collective>> queue_;
  std::deque<std::shared_ptr<Collective>> on_device_;  // before those in the queue
  std::uint64_t begun_ = 0;
  std::exception_ptr failure_;
  Clock::time_point silent_since_;  // the last movement, or the last sign of work
  bool silence_timed_ = false;      // silent_since_ is set when silence is first looked at: a quick collective reads no clock
  bool crowded_;
};

}  // namespace minim::detail
