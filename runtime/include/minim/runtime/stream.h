#pragma once

#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <string>

#include "minim/runtime/tensor.h"
#include "minim/runtime/trace.h"

namespace minim {

namespace detail {
class EventState;
}

/// A point in a stream's order, or a condition that the host fulfils. A cheap handle; copies refer to the same point.
/// A default-constructed event has always happened.
class Event {
 public:
  Event() = default;
  explicit Event(std::shared_ptr<detail::EventState> state) : state_(std::move(state)) {}
  /// An event that happens when `set()` is called on it.
  static Event manual();

  bool done() const;
  /// Blocks the calling thread. Rethrows what failed if the work before the event did.
  void wait() const;
  /// Blocks the calling thread for at most `timeout`, without failing. True when the event has happened.
  bool wait_for(std::chrono::microseconds timeout) const;
  /// For manual events: happens now. With a failure, everybody who waits gets it.
  void set() const;
  void fail(std::exception_ptr failure) const;

  /// What the event refers to, for streams: they order themselves in their own way after events of their own device, and after
  /// all others through the host. Null when the event has always happened.
  const std::shared_ptr<detail::EventState>& state() const { return state_; }

 private:
  std::shared_ptr<detail::EventState> state_;
};

/// An ordered queue of work that runs asynchronously to the host: on the CPU, on a thread of its own.
/// Work of different streams is ordered by events only. Destruction waits for what was enqueued.
///
/// After work has thrown, the stream runs nothing more; `synchronize` and events recorded later rethrow the failure. On a GPU,
/// kernels and copies run all the same if they were enqueued before the failure was known.
class Stream {
 public:
  virtual ~Stream() = default;

  /// Enqueues `work`; it is moved in and runs once.
  virtual void enqueue(std::function<void()> work) = 0;
  /// Enqueues `*work` without copying or allocating; it must stay alive until it has run.
  virtual void enqueue_borrowed(const std::function<void()>* work) = 0;
  /// Enqueues a copy between tensors of equal type and count, each in memory of `Backend::allocate` or `Backend::allocate_host`.
  /// Both must stay alive, and `from` unchanged, until the copy has run. Throws InvalidArgument for tensors that differ.
  virtual void copy(TensorView to, ConstTensorView from) = 0;
  /// What is enqueued from here on runs after `event` has happened. The host goes on.
  virtual void wait(const Event& event) = 0;
  /// An event that happens when everything enqueued so far has run.
  virtual Event record() = 0;
  /// Blocks the host until everything enqueued so far has run. Rethrows what failed.
  virtual void synchronize() = 0;
  /// What is enqueued from here to the range's end goes by that name in a profiler. Ranges nest.
  virtual void begin_range(const char* /*name*/) {}
  virtual void end_range() {}

  /// When everything enqueued so far has run.
  virtual std::shared_ptr<const TimePoint> record_time();
  /// Where what `traced` encloses goes from here on; null: nowhere. The row outlives that.
  void set_trace(TraceRow* row) { trace_ = row; }
  TraceRow* trace() const { return trace_; }

 protected:
  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

 private:
  TraceRow* trace_ = nullptr;
};

/// Lets `part` enqueue work on `stream` and, where that is traced, adds when it ran to the trace.
template <class Part>
void traced(Stream& stream, const TraceLabel& label, Part&& part) {
  TraceRow* const row = stream.trace();
  if (row == nullptr) return part();
  const auto begin = stream.record_time();
  part();
  *row->add(label) = {begin, stream.record_time()};
}

/// A CPU stream: one thread, named `name`, that computes with `threads` OpenMP threads.
std::unique_ptr<Stream> make_cpu_stream(std::string name, int threads);

}  // namespace minim
