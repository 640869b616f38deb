#include "minim/runtime/trace.h"

#include <gtest/gtest.h>

#include "minim/runtime/error.h"
#include "minim/runtime/stream.h"

namespace minim {
namespace {

std::int64_t now() { return host_time()->nanoseconds(); }

TEST(Trace, WorkOfAStreamTakesFromWhenItBeginsToWhenItEnds) {
  const auto stream = make_cpu_stream("test", 1);
  const Event entered = Event::manual(), open = Event::manual();
  TraceRow row;
  stream->set_trace(&row);
  traced(*stream, {.name = "first", .category = "forward"}, [&] {
    stream->enqueue([&] {
      entered.set();
      open.wait();
    });
  });
  traced(*stream, {.name = "second", .category = "backward"}, [&] { stream->enqueue([] {}); });
  entered.wait();
  const std::int64_t within_first = now();
  open.set();
  stream->synchronize();
  const std::int64_t after = now();
  const auto events = row.events();
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].name, "first");
  EXPECT_EQ(events[1].category, "backward");
  EXPECT_LE(events[0].begin, within_first);
  EXPECT_GE(events[0].end, within_first);
  EXPECT_GE(events[1].begin, events[0].end);
  EXPECT_GE(events[1].end, events[1].begin);
  EXPECT_LE(events[1].end, after);
}

TEST(Trace, WhatIsEnqueuedWithoutARowLeavesNothing) {
  const auto stream = make_cpu_stream("test", 1);
  TraceRow row;
  stream->set_trace(&row);
  stream->set_trace(nullptr);
  bool ran = false;
  traced(*stream, {.name = "work", .category = "forward"}, [&] { stream->enqueue([&ran] { ran = true; }); });
  traced(static_cast<TraceRow*>(nullptr), {.name = "work", .category = "host"}, [] {});
  stream->synchronize();
  EXPECT_TRUE(ran);
  EXPECT_TRUE(row.events().empty());
}

TEST(Trace, EventsKeepTheirLabelsAndMicroBatch) {
  TraceRow row;
  traced(&row, {.name = "feed", .category = "host"}, [] {});
  row.set_micro_batch(3);
  traced(&row, {.name = std::string("conv1"), .category = "forward", .type = "conv2d", .kernel = "Conv2dForward", .bytes = 8},
         [] {});
  const auto events = row.events();
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].micro_batch, -1);
  EXPECT_EQ(events[1].micro_batch, 3);
  EXPECT_EQ(events[1].name, "conv1");
  EXPECT_EQ(events[1].type, "conv2d");
  EXPECT_EQ(events[1].kernel, "Conv2dForward");
  EXPECT_EQ(events[1].bytes, 8);
  EXPECT_LE(events[0].end, events[1].begin);
}

TEST(Trace, WorkThatThrowsOnTheHostIsNotInIt) {
  TraceRow row;
  EXPECT_THROW(traced(&row, {.name = "feed", .category = "host"}, [] { throw DataError("bad"); }), DataError);
  EXPECT_TRUE(row.events().empty());
}

}  // namespace
}  // namespace minim
