#include "command/trace_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "command/text.h"

namespace minim::command {
namespace {

const std::vector<TraceEvent>& events_of(const TraceRows& rows, std::string_view name) {
  static const std::vector<TraceEvent> kNone;
  const auto found = std::ranges::find(rows, name, &NamedRow::name);
  return found == rows.end() ? kNone : found->events;
}

bool is_kernel(const TraceEvent& event) { return !event.kernel.empty(); }

std::string in_seconds(std::int64_t nanoseconds) {
  return nanoseconds == 0 ? "" : format_seconds(1e-9 * static_cast<double>(nanoseconds));
}

std::string percentage(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? "" : fmt::format("{:.1f} %", 100 * static_cast<double>(part) / static_cast<double>(whole));
}

/// Kernels of one type of operation.
struct TypeTimes {
  std::int64_t calls = 0, forward = 0, backward = 0, update = 0;
  std::int64_t total() const { return forward + backward + update; }

  void add(const TraceEvent& event) {
    ++calls;
    (event.category == "forward" ? forward : event.category == "backward" ? backward : update) += event.end - event.begin;
  }
};

/// The most expensive one first.
std::vector<std::pair<std::string, TypeTimes>> times_by_type(const std::vector<TraceEvent>& compute) {
  std::map<std::string, TypeTimes> by_type;
  for (const TraceEvent& event : compute) {
    if (is_kernel(event)) by_type[event.type].add(event);
  }
  std::vector<std::pair<std::string, TypeTimes>> sorted(by_type.begin(), by_type.end());
  std::ranges::stable_sort(sorted, std::greater(), [](const auto& entry) { return entry.second.total(); });
  return sorted;
}

}  // namespace

TraceShares shares_of(const TraceRows& rows) {
  TraceShares shares;
  const auto& compute = events_of(rows, "compute");
  const auto& communication = events_of(rows, "communication");
  if (!compute.empty()) shares.step = compute.back().end - compute.front().begin;
  for (const TraceEvent& event : compute) {
    (is_kernel(event) ? shares.kernels : event.category == "copy" ? shares.copies : shares.waits) += event.end - event.begin;
  }
  for (const TraceEvent& collective : communication) {
    shares.communication += collective.end - collective.begin;
    for (const TraceEvent& event : compute) {
      const std::int64_t both = std::min(event.end, collective.end) - std::max(event.begin, collective.begin);
      if (is_kernel(event)) shares.hidden += std::max<std::int64_t>(both, 0);
    }
  }
  return shares;
}

std::string trace_table(const TraceRows& rows) {
  const TraceShares shares = shares_of(rows);
  TextTable types({"operation", "kernels", "forward", "backward", "update", "of the step"});
  for (const auto& [type, times] : times_by_type(events_of(rows, "compute"))) {
    types.add({type, fmt::format("{}", times.calls), in_seconds(times.forward), in_seconds(times.backward),
               in_seconds(times.update), percentage(times.total(), shares.step)});
  }
  TextTable parts({"", "time", "of the step"});
  const auto add = [&](const char* name, std::int64_t time) {
    parts.add({name, in_seconds(time), percentage(time, shares.step)});
  };
  add("step", shares.step);
  add("in kernels", shares.kernels);
  add("copying", shares.copies);
  add("waiting", shares.waits);
  add("between them", shares.step - shares.kernels - shares.copies - shares.waits);
  add("communication", shares.communication);
  parts.add({"hidden by kernels", in_seconds(shares.hidden), percentage(shares.hidden, shares.communication) + " of it"});
  return types.to_string() + "\n" + parts.to_string();
}

}  // namespace minim::command
