#include <gtest/gtest.h>

#include <array>

#include "minim/comm/communicator.h"
#include "minim/runtime/stream.h"

namespace minim {
namespace {

TensorView view_of(std::array<float, 4>& values) { return {values.data(), DType::fp32, Shape{4}}; }

TEST(CommunicatorTrace, ACollectiveBeginsWhenItsTensorsAreReady) {
  const auto communicator = make_self_communicator();
  std::array<float, 4> values{1, 2, 3, 4};
  const Event ready = Event::manual();
  TraceRow row;
  communicator->set_trace(&row);
  const Work first = communicator->all_reduce(view_of(values), {}, {.label = "bucket 1", .after = ready});
  const Work second = communicator->all_gather(view_of(values), {.label = "bucket 0", .after = {}});
  communicator->set_trace(nullptr);
  const Work untraced = communicator->barrier({.label = "end", .after = {}});
  communicator->progress();
  const std::int64_t before = host_time()->nanoseconds();
  ready.set();
  untraced.wait();
  const std::int64_t after = host_time()->nanoseconds();
  const auto events = row.events();
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].name, "bucket 1");
  EXPECT_EQ(events[0].type, "all-reduce");
  EXPECT_EQ(events[0].category, "communication");
  EXPECT_EQ(events[0].bytes, 16);
  EXPECT_EQ(events[1].type, "all-gather");
  EXPECT_GE(events[0].begin, before);
  EXPECT_GE(events[0].end, events[0].begin);
  EXPECT_GE(events[1].begin, events[0].end);
  EXPECT_LE(events[1].end, after);
}

TEST(CommunicatorTrace, AStreamWaitsUntilTheCollectiveIsThere) {
  const auto communicator = make_self_communicator();
  const auto stream = make_cpu_stream("test", 1);
  std::array<float, 4> values{};
  TraceRow collectives, waits;
  communicator->set_trace(&collectives);
  stream->set_trace(&waits);
  const Work work = communicator->all_reduce(view_of(values), {}, {.label = "bucket 1", .after = {}});
  work.precede(*stream);
  work.wait();
  stream->synchronize();
  ASSERT_EQ(waits.events().size(), 1U);
  EXPECT_EQ(waits.events()[0].name, "bucket 1");
  EXPECT_EQ(waits.events()[0].category, "wait");
  EXPECT_GE(waits.events()[0].end, collectives.events()[0].end);
}

}  // namespace
}  // namespace minim
