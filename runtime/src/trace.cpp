#include "minim/runtime/trace.h"

#include <chrono>

#include "minim/runtime/stream.h"

namespace minim {
namespace {

class HostTime final : public TimePoint {
 public:
  void set_to_now() { at_ = std::chrono::steady_clock::now(); }
  std::int64_t nanoseconds() const override {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(at_.time_since_epoch()).count();
  }

 private:
  std::chrono::steady_clock::time_point at_;
};

}  // namespace

std::shared_ptr<const TimePoint> host_time() {
  auto time = std::make_shared<HostTime>();
  time->set_to_now();
  return time;
}

std::shared_ptr<const TimePoint> Stream::record_time() {
  auto time = std::make_shared<HostTime>();
  enqueue([time] { time->set_to_now(); });
  return time;
}

std::shared_ptr<TimeSpan> TraceRow::add(const TraceLabel& label) {
  Entry& entry = entries_.emplace_back();
  entry.event = {.name = std::string(label.name),
                 .category = std::string(label.category),
                 .type = std::string(label.type),
                 .kernel = std::string(label.kernel),
                 .bytes = label.bytes,
                 .micro_batch = micro_batch_};
  entry.span = std::make_shared<TimeSpan>();
  return entry.span;
}

std::vector<TraceEvent> TraceRow::events() const {
  std::vector<TraceEvent> events;
  for (const Entry& entry : entries_) {
    TraceEvent& event = events.emplace_back(entry.event);
    event.begin = entry.span->begin->nanoseconds();
    event.end = entry.span->end->nanoseconds();
  }
  return events;
}

}  // namespace minim
