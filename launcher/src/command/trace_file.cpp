#include "command/trace_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <limits>
#include <nlohmann/json.hpp>

#include "checkpoint_collective.h"
#include "checkpoint_file.h"
#include "command/experiment.h"

namespace minim::command {
namespace {

using Json = nlohmann::ordered_json;

std::int64_t now() { return host_time()->nanoseconds(); }

/// What rank 0's clock is ahead of this rank's, in nanoseconds. Collective.
std::int64_t clock_difference(Communicator& communicator) {
  if (communicator.nodes() == 1) return 0;
  std::array<std::int64_t, 9> differences{};
  for (std::int64_t& difference : differences) {
    communicator.barrier({.label = "clocks", .after = {}}).wait();
    const std::int64_t here = now();
    difference = broadcast_number(communicator, here) - here;
  }
  std::ranges::sort(differences);
  const bool same_clock = communicator.node_of(communicator.rank()) == communicator.node_of(0);
  return same_clock ? 0 : differences[differences.size() / 2];
}

std::int64_t first_time(const TraceRows& rows) {
  std::int64_t first = std::numeric_limits<std::int64_t>::max();
  for (const NamedRow& row : rows) {
    for (const TraceEvent& event : row.events) first = std::min(first, event.begin);
  }
  return first;
}

Json metadata(const char* what, int rank, std::size_t row, const Json& value) {
  const char* const key = value.is_string() ? "name" : "sort_index";
  return {{"ph", "M"}, {"name", what}, {"pid", rank}, {"tid", row}, {"args", {{key, value}}}};
}

/// `origin`: the time, on this rank's clock, at which the trace begins.
Json complete_event(const TraceEvent& event, int rank, std::size_t row, std::int64_t origin) {
  constexpr double kNanosecondsPerMicrosecond = 1000;  // the format counts in microseconds
  Json arguments = Json::object();
  if (!event.type.empty()) arguments["type"] = event.type;
  if (!event.kernel.empty()) arguments["kernel"] = event.kernel;
  if (event.micro_batch >= 0) arguments["micro_batch"] = event.micro_batch;
  if (event.bytes > 0) arguments["bytes"] = event.bytes;
  return {{"ph", "X"},
          {"name", event.name},
          {"cat", event.category},
          {"pid", rank},
          {"tid", row},
          {"ts", static_cast<double>(event.begin - origin) / kNanosecondsPerMicrosecond},
          {"dur", static_cast<double>(event.end - event.begin) / kNanosecondsPerMicrosecond},
          {"args", std::move(arguments)}};
}

/// One object a line, with commas between.
std::string events_text(const TraceRows& rows, int rank, std::int64_t origin) {
  std::vector<std::string> lines = {metadata("process_name", rank, 0, fmt::format("rank {}", rank)).dump(),
                                    metadata("process_sort_index", rank, 0, rank).dump()};
  for (std::size_t row = 0; row < rows.size(); ++row) {
    lines.push_back(metadata("thread_name", rank, row, rows[row].name).dump());
    lines.push_back(metadata("thread_sort_index", rank, row, row).dump());
    for (const TraceEvent& event : rows[row].events) lines.push_back(complete_event(event, rank, row, origin).dump());
  }
  return fmt::format("{}", fmt::join(lines, ",\n"));
}

}  // namespace

TraceRows read_trace(const StepTrace& trace) {
  TraceRows rows;
  const auto add = [&](const char* name, const TraceRow& row) {
    if (auto events = row.events(); !events.empty()) rows.push_back({name, std::move(events)});
  };
  add("host", trace.host);
  add("input", trace.input);
  add("compute", trace.compute);
  add("communication", trace.communication);
  return rows;
}

std::string gather_trace(Communicator& communicator, const TraceRows& rows) {
  const std::int64_t difference = clock_difference(communicator);
  const std::int64_t origin = broadcast_number(communicator, first_time(rows)) - difference;
  const std::string own = events_text(rows, communicator.rank(), origin);
  std::string text = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n";
  for (int rank = 0; rank < communicator.size(); ++rank) {
    text += broadcast_text(communicator, own, rank);
    text += rank + 1 < communicator.size() ? ",\n" : "\n]}\n";
  }
  return text;
}

void write_trace(const std::filesystem::path& file, const std::string& text) {
  OutputFile output(file);
  output.write(std::as_bytes(std::span(text)));
  output.close();
}

}  // namespace minim::command
