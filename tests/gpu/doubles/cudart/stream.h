#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <random>

#include "cudart/device.h"
#include "sanitizers.h"

namespace cudart {

class Capture;
class Stream;

/// What a stream, or a graph's node, runs; a graph's as often as it is launched.
struct Operation {
  const char* name;
  std::function<void()> run;
  bool runs_when_lost = false;  ///< also after the device is lost, where nothing else runs
};

/// Runs the operation in the program's name, unless the device is lost.
void run(const Operation& operation, const Device& device);

/// A place in a stream's order: behind what had been enqueued when it was marked.
struct Point {
  std::shared_ptr<Stream> stream;
  std::uint64_t ticket = 0;
  doubles::Order reached;
  std::chrono::steady_clock::time_point time;

  bool done() const;
  /// Asks the stream to get here, and waits.
  void wait();
};

/// A queue of operations and the thread that runs them, at a moment that the schedule chooses.
class Stream : public std::enable_shared_from_this<Stream> {
 public:
  static std::shared_ptr<Stream> make(Device& device, bool blocking, int priority);

  void push(Operation operation);
  /// A point behind all that has been pushed.
  std::shared_ptr<Point> mark();
  /// Whether all that has been pushed has run. Asks for it.
  bool query();
  /// Makes the stream run what was pushed up to `ticket`.
  void ask(std::uint64_t ticket);
  bool reached(std::uint64_t ticket) const;
  void wait_for(std::uint64_t ticket);
  /// Waits for all that has been pushed.
  void drain();
  /// Nothing more will be pushed: the thread ends when all has run.
  void close();

  Device& device() const { return device_; }
  int number() const { return number_; }
  int priority() const { return priority_; }
  /// Whether the default stream orders itself against this one.
  bool is_blocking() const { return blocking_; }

  /// Guarded by the captures' lock; null while the stream is not captured.
  std::shared_ptr<Capture> capture;

 private:
  struct Entry {
    Operation operation;
    std::unique_ptr<doubles::Order> pushed;
  };

  Stream(Device& device, bool blocking, int priority);
  void serve();
  bool take(Entry& entry);
  void pause();

  Device& device_;
  const bool blocking_;
  const int priority_;
  const int number_;
  const bool lazy_;
  std::mt19937_64 random_;
  doubles::Order idle_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Entry> queue_;
  std::uint64_t pushed_ = 0, asked_ = 0, done_ = 0;
  bool closed_ = false;
};

/// Waits for all work of the device, of destroyed streams, too.
void wait_for_all_streams(const Device& device);

/// Every call of the API says that it happened: a lazy stream runs after all when there has been none for a while, since the host
/// then waits for something that the double cannot see.
void note_call();

}  // namespace cudart
