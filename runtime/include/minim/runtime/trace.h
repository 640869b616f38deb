#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace minim {

/// When something happened, known once it has.
class TimePoint {
 public:
  virtual ~TimePoint() = default;
  /// On the clock of `std::chrono::steady_clock`. Throws what kept it from happening.
  virtual std::int64_t nanoseconds() const = 0;
};

/// Now, by the calling thread's clock.
std::shared_ptr<const TimePoint> host_time();

struct TimeSpan {
  std::shared_ptr<const TimePoint> begin, end;
};

/// What is done in a part of a step.
struct TraceLabel {
  std::string_view name;         ///< of an operation, a bucket, an input, ...
  std::string_view category;     ///< "forward", "backward", "update", "communication", "copy", "wait" or "host"
  std::string_view type = {};    ///< of an operation or a collective
  std::string_view kernel = {};  ///< argument type
  std::int64_t bytes = 0;        ///< that are moved, of copies and collectives
};

/// A part of a step with its times, in nanoseconds of `std::chrono::steady_clock`. Else as TraceLabel.
struct TraceEvent {
  std::string name, category, type, kernel;
  std::int64_t bytes = 0;
  int micro_batch = -1;  ///< -1: of none
  std::int64_t begin = 0, end = 0;
};

/// What a stream, a communicator or a thread does one after another while it is traced. Not thread-safe.
class TraceRow {
 public:
  /// Where the times of what comes next go.
  std::shared_ptr<TimeSpan> add(const TraceLabel& label);
  /// The micro-batch that what is added from here on belongs to; -1: none.
  void set_micro_batch(int index) { micro_batch_ = index; }
  /// After all of it has happened. Throws what kept it from that.
  std::vector<TraceEvent> events() const;

 private:
  struct Entry {
    TraceEvent event;
    std::shared_ptr<TimeSpan> span;
  };
  std::vector<Entry> entries_;
  int micro_batch_ = -1;
};

/// Does `part` on the calling thread and adds it to `row`, unless that is null.
template <class Part>
void traced(TraceRow* row, const TraceLabel& label, Part&& part) {
  if (row == nullptr) return part();
  const auto begin = host_time();
  part();
  *row->add(label) = {begin, host_time()};
}

}  // namespace minim
