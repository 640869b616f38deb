#include "minim/runtime/stream.h"

#include <gtest/gtest.h>
#include <omp.h>
#include <pthread.h>

#include <array>
#include <thread>
#include <vector>

#include "minim/runtime/error.h"
#include "minim/runtime/event_state.h"

namespace minim {
namespace {

std::exception_ptr failure(const char* text) { return std::make_exception_ptr(DeviceError(text)); }

/// What waiting for `event` throws; empty when nothing.
std::string failure_of(const Event& event) {
  try {
    event.wait();
  } catch (const std::exception& error) {
    return error.what();
  }
  return {};
}

TEST(Event, HasAlwaysHappenedByDefault) {
  const Event event;
  EXPECT_TRUE(event.done());
  event.wait();
  EXPECT_THROW(event.set(), InvalidArgument);
  EXPECT_THROW(event.fail(failure("lost")), InvalidArgument);
  EXPECT_EQ(event.state(), nullptr);
}

TEST(Event, ShowsTheStateThatItsCopiesShare) {
  const Event event = Event::manual();
  const Event copy = event;
  ASSERT_NE(event.state(), nullptr);
  EXPECT_EQ(event.state(), copy.state());
  EXPECT_NE(event.state(), Event::manual().state());
  EXPECT_FALSE(event.state()->done());
  event.state()->finish(nullptr);
  EXPECT_TRUE(copy.done());
}

/// The state of an event of some device, as a stream of that device makes it.
class DeviceEventState final : public detail::EventState {
 public:
  bool done() const override { return polls_++ > 0; }
  std::exception_ptr wait() const override { return failure("the device is lost"); }
  bool wait_for(std::chrono::microseconds) const override { return false; }
  void finish(std::exception_ptr) override { throw InvalidArgument("only the device makes it happen"); }

 private:
  mutable int polls_ = 0;
};

TEST(Event, AsksTheStateOfWhateverDeviceItIs) {
  const Event event(std::make_shared<DeviceEventState>());
  EXPECT_FALSE(event.done());
  EXPECT_TRUE(event.done());
  EXPECT_EQ(failure_of(event), "the device is lost");
  EXPECT_FALSE(event.wait_for(std::chrono::microseconds(1)));
  EXPECT_THROW(event.set(), InvalidArgument);
  EXPECT_NE(dynamic_cast<const DeviceEventState*>(event.state().get()), nullptr);
  EXPECT_EQ(dynamic_cast<const DeviceEventState*>(Event::manual().state().get()), nullptr);
  const auto stream = make_cpu_stream("test", 1);
  stream->wait(event);
  EXPECT_THROW(stream->synchronize(), DeviceError);
}

TEST(Event, HappensOnceForAllCopies) {
  const Event event = Event::manual();
  const Event copy = event;
  EXPECT_FALSE(copy.done());
  event.set();
  EXPECT_TRUE(copy.done());
  copy.fail(failure("too late"));
  EXPECT_EQ(failure_of(event), "");
}

TEST(Event, WakesEverybodyWhoWaits) {
  const Event event = Event::manual();
  std::array<std::string, 2> failures;
  std::thread first([&] { failures[0] = failure_of(event); });
  std::thread second([&] { failures[1] = failure_of(event); });
  event.fail(failure("lost"));
  first.join();
  second.join();
  EXPECT_EQ(failures[0], "lost");
  EXPECT_EQ(failures[1], "lost");
}

TEST(Stream, RunsWorkInTheOrderOfEnqueueing) {
  std::vector<int> order;
  const std::function<void()> borrowed = [&order] { order.push_back(-1); };
  const auto stream = make_cpu_stream("test", 1);
  for (int i = 0; i < 100; ++i) {
    stream->enqueue([&order, i] { order.push_back(i); });
    stream->enqueue_borrowed(&borrowed);
  }
  stream->synchronize();
  ASSERT_EQ(order.size(), 200U);
  for (std::size_t i = 0; i < 100; ++i) {
    EXPECT_EQ(order[2 * i], static_cast<int>(i));
    EXPECT_EQ(order[2 * i + 1], -1);
  }
}

TEST(Stream, WaitsWithoutTheHost) {
  const Event gate = Event::manual();
  bool ran = false;
  const auto stream = make_cpu_stream("test", 1);
  stream->wait(gate);
  stream->enqueue([&ran] { ran = true; });
  const Event after = stream->record();
  EXPECT_FALSE(after.done());  // the host got here although the gate is closed
  gate.set();
  after.wait();
  EXPECT_TRUE(ran);
}

TEST(Stream, RecordsAnEventThatHappensAfterTheWorkBeforeIt) {
  const Event entered = Event::manual(), gate = Event::manual();
  const auto stream = make_cpu_stream("test", 1);
  const Event before = stream->record();
  stream->enqueue([=] {
    entered.set();
    gate.wait();
  });
  const Event after = stream->record();
  entered.wait();
  EXPECT_TRUE(before.done());
  EXPECT_FALSE(after.done());
  gate.set();
  after.wait();
}

TEST(Stream, WaitsForAnotherStreamsEvent) {
  const Event gate = Event::manual();
  std::vector<int> order;
  const auto first = make_cpu_stream("first", 1), second = make_cpu_stream("second", 1);
  first->wait(gate);
  first->enqueue([&order] { order.push_back(1); });
  second->wait(first->record());
  second->enqueue([&order] { order.push_back(2); });
  first->wait(second->record());
  first->enqueue([&order] { order.push_back(3); });
  gate.set();
  first->synchronize();
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

TEST(Stream, RunsBesideStreamsThatItDoesNotWaitFor) {
  const Event gate = Event::manual();
  const auto closed = make_cpu_stream("closed", 1), open = make_cpu_stream("open", 1);
  closed->wait(gate);
  bool ran = false;
  open->enqueue([&ran] { ran = true; });
  open->synchronize();
  EXPECT_TRUE(ran);
  gate.set();
}

TEST(Stream, RunsNothingMoreAfterAFailure) {
  bool ran = false;
  const auto stream = make_cpu_stream("test", 1);
  const Event before = stream->record();
  stream->enqueue([] { throw DataError("sample 3 has label 12"); });
  stream->enqueue([&ran] { ran = true; });
  const Event after = stream->record();
  EXPECT_EQ(failure_of(before), "");
  EXPECT_EQ(failure_of(after), "sample 3 has label 12");
  EXPECT_THROW(stream->synchronize(), DataError);
  stream->enqueue([&ran] { ran = true; });
  EXPECT_THROW(stream->synchronize(), DataError) << "the failure stays";
  EXPECT_FALSE(ran);
}

TEST(Stream, CopiesNothingAfterAFailure) {
  float from = 1, to = 0;
  const auto stream = make_cpu_stream("test", 1);
  stream->enqueue([] { throw DataError("bad"); });
  stream->copy(TensorView(&to, DType::fp32, {1}), TensorView(&from, DType::fp32, {1}));
  EXPECT_THROW(stream->synchronize(), DataError);
  EXPECT_EQ(to, 0);
}

TEST(Stream, PassesAFailureToStreamsThatWaitForIt) {
  bool ran = false;
  const auto first = make_cpu_stream("first", 1), second = make_cpu_stream("second", 1);
  first->enqueue([] { throw DataError("bad"); });
  second->wait(first->record());
  second->enqueue([&ran] { ran = true; });
  EXPECT_THROW(second->synchronize(), DataError);
  EXPECT_FALSE(ran);
}

TEST(Stream, FailsWithTheManualEventThatItWaitsFor) {
  const Event gate = Event::manual();
  bool ran = false;
  const auto stream = make_cpu_stream("test", 1);
  stream->wait(gate);
  stream->enqueue([&ran] { ran = true; });
  gate.fail(failure("lost"));
  EXPECT_THROW(stream->synchronize(), DeviceError);
  EXPECT_FALSE(ran);
}

TEST(Stream, DoesNotWaitForAClosedGateOnceItHasFailed) {
  const auto stream = make_cpu_stream("test", 1);
  stream->enqueue([] { throw DataError("bad"); });
  stream->wait(Event::manual());  // never set: waiting for it would hang
  EXPECT_THROW(stream->synchronize(), DataError);
}

TEST(Stream, RunsWhatWasEnqueuedBeforeItIsDestroyed) {
  int runs = 0;
  const Event gate = Event::manual();
  {
    const auto stream = make_cpu_stream("test", 1);
    stream->wait(gate);
    for (int i = 0; i < 10; ++i) stream->enqueue([&runs] { ++runs; });
    gate.set();
  }
  EXPECT_EQ(runs, 10);
}

TEST(Stream, LetsGoOfWorkThatHasRun) {
  const auto held = std::make_shared<int>(0);
  const Event gate = Event::manual();
  const auto stream = make_cpu_stream("test", 1);
  stream->enqueue([held] {});
  const Event ran = stream->record();
  stream->wait(gate);  // keeps the worker inside the batch
  ran.wait();
  EXPECT_EQ(held.use_count(), 1);
  gate.set();
}

TEST(Stream, ComputesOnAThreadOfItsOwnUnderItsName) {
  std::array<char, 16> name{};
  std::thread::id id;
  const auto stream = make_cpu_stream("communication of rank 3", 1);
  stream->enqueue([&] {
    pthread_getname_np(pthread_self(), name.data(), name.size());
    id = std::this_thread::get_id();
  });
  stream->synchronize();
  EXPECT_STREQ(name.data(), "communication o");
  EXPECT_NE(id, std::this_thread::get_id());
}

TEST(Stream, SetsItsOwnNumberOfThreadsAndNobodyElses) {
  const int before = omp_get_max_threads();
  int inside = 0;
  const auto stream = make_cpu_stream("test", before + 3);
  stream->enqueue([&inside] { inside = omp_get_max_threads(); });
  stream->synchronize();
  EXPECT_EQ(inside, before + 3);
  EXPECT_EQ(omp_get_max_threads(), before);
  EXPECT_THROW(make_cpu_stream("test", 0), InvalidArgument);
}

}  // namespace
}  // namespace minim
