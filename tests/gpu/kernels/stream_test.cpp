#include <gtest/gtest.h>

#include <thread>

#include "minim/runtime/cuda.h"
#include "minim/runtime/event_state.h"
#include "minim/runtime/kernels/elementwise.h"

namespace minim::gpu {
namespace {

class CudaStreams : public testing::Test {
 protected:
  Tensor on_device(std::int64_t count) { return backend_->allocate_tensor(DType::fp32, {count}, MemoryKind::workspace); }
  Tensor on_host(std::int64_t count) { return backend_->allocate_host_tensor(DType::fp32, {count}, MemoryKind::staging); }
  /// What waiting for `event` throws; empty when nothing.
  static std::string failure_of(const Event& event) {
    try {
      event.wait();
    } catch (const std::exception& error) {
      return error.what();
    }
    return {};
  }

  std::unique_ptr<Backend> backend_ = make_cuda_backend({});
  std::unique_ptr<Stream> stream_ = backend_->make_stream("test");
};

TEST_F(CudaStreams, RunHostFunctionsInOrderWithoutTheHost) {
  const Event gate = Event::manual();
  std::vector<int> order;
  const std::function<void()> borrowed = [&] { order.push_back(-1); };
  stream_->wait(gate);
  for (int i = 0; i < 10; ++i) {
    stream_->enqueue([&order, i] { order.push_back(i); });
    stream_->enqueue_borrowed(&borrowed);
  }
  const Event after = stream_->record();
  EXPECT_FALSE(after.done());  // the host got here although the gate is closed
  EXPECT_FALSE(after.wait_for(std::chrono::microseconds(200)));
  gate.set();
  after.wait();
  EXPECT_TRUE(after.done());
  EXPECT_TRUE(after.wait_for(std::chrono::microseconds(0)));
  ASSERT_EQ(order.size(), 20U);
  for (std::size_t i = 0; i < 10; ++i) {
    EXPECT_EQ(order[2 * i], static_cast<int>(i));
    EXPECT_EQ(order[2 * i + 1], -1);
  }
}

TEST_F(CudaStreams, GoOnAfterAnEventThatHasHappened) {
  const Event event = Event::manual();
  event.set();
  stream_->wait(event);
  stream_->wait(Event());
  stream_->synchronize();
}

TEST_F(CudaStreams, OrderKernelsOfDifferentStreamsByEvents) {
  constexpr std::int64_t kCount = 5000;
  const auto other = backend_->make_stream("other");
  const Tensor x = on_device(kCount), y = on_device(kCount), source = on_host(kCount), result = on_host(kCount);
  for (float& value : source.span<float>()) value = 1;
  const auto doubled = backend_->prepare(Sum{.inputs = {x, x}, .y = y});
  const auto moved = backend_->prepare(Sum{.inputs = {y}, .y = x});
  const Event gate = Event::manual();
  stream_->wait(gate);
  stream_->copy(x, source);
  for (int i = 0; i < 5; ++i) {
    other->wait(stream_->record());
    doubled->launch(*other);
    stream_->wait(other->record());
    moved->launch(*stream_);
  }
  stream_->copy(result, x);
  gate.set();
  stream_->synchronize();
  for (const float value : result.span<float>()) ASSERT_EQ(value, 32);
}

TEST_F(CudaStreams, TellWhenWorkRanOnTheClockOfTheHost) {
  constexpr std::int64_t kCount = 5000;
  // That it is this clock and no other. How exactly the two are compared depends on what else the machine does.
  constexpr std::int64_t kComparisonNanoseconds = 1'000'000'000;
  const Tensor x = on_device(kCount), y = on_device(kCount);
  const auto doubled = backend_->prepare(Sum{.inputs = {x, x}, .y = y});
  const Event gate = Event::manual();
  TraceRow row;
  const std::int64_t before = host_time()->nanoseconds();
  stream_->set_trace(&row);
  traced(*stream_, {.name = "gate", .category = "wait"}, [&] { stream_->wait(gate); });
  traced(*stream_, {.name = "double", .category = "forward"}, [&] { doubled->launch(*stream_); });
  stream_->set_trace(nullptr);
  gate.set();
  stream_->synchronize();
  const std::int64_t after = host_time()->nanoseconds();
  const auto events = row.events();
  ASSERT_EQ(events.size(), 2U);
  EXPECT_GE(events[0].begin, before - kComparisonNanoseconds);
  EXPECT_GE(events[0].end, events[0].begin);
  EXPECT_GE(events[1].begin, events[0].end);
  EXPECT_GE(events[1].end, events[1].begin);
  EXPECT_LE(events[1].end, after + kComparisonNanoseconds);
}

TEST_F(CudaStreams, TellAFailureToWhatWasEnqueuedAfterItAndToNothingElse) {
  bool ran = false;
  const auto other = backend_->make_stream("other");
  const Event before = stream_->record();
  stream_->enqueue([] { throw DataError("sample 3 has label 12"); });
  const Event after = stream_->record();
  stream_->enqueue([&ran] { ran = true; });
  other->wait(after);
  other->enqueue([&ran] { ran = true; });
  const Event elsewhere = other->record();
  EXPECT_EQ(failure_of(after), "sample 3 has label 12");
  EXPECT_EQ(failure_of(before), "");
  EXPECT_EQ(failure_of(elsewhere), "sample 3 has label 12");
  EXPECT_THROW(stream_->synchronize(), DataError);
  EXPECT_THROW(other->synchronize(), DataError);
  EXPECT_THROW(stream_->synchronize(), DataError) << "the failure stays";
  EXPECT_FALSE(ran);
}

TEST_F(CudaStreams, FailWithTheEventThatTheyWaitFor) {
  const Event gate = Event::manual();
  stream_->wait(gate);
  gate.fail(std::make_exception_ptr(CommError("rank 2 is gone")));
  EXPECT_THROW(stream_->synchronize(), CommError);
}

TEST_F(CudaStreams, DoNotWaitForAClosedGateOnceTheyHaveFailed) {
  stream_->enqueue([] { throw DataError("bad"); });
  stream_->wait(Event::manual());  // never set: waiting for it would hang
  EXPECT_THROW(stream_->synchronize(), DataError);
}

TEST_F(CudaStreams, RunWhatWasEnqueuedBeforeTheyAreDestroyed) {
  int runs = 0;
  const Event gate = Event::manual();
  {
    const auto other = backend_->make_stream("other");
    other->wait(gate);
    for (int i = 0; i < 10; ++i) other->enqueue([&runs] { ++runs; });
    gate.set();
  }
  EXPECT_EQ(runs, 10);
}

TEST_F(CudaStreams, LetGoOfWorkThatHasRun) {
  const auto held = std::make_shared<int>(0);
  stream_->enqueue([held] {});
  stream_->synchronize();
  EXPECT_EQ(held.use_count(), 1);
}

TEST_F(CudaStreams, LetHostFunctionsHoldMemoryOfTheDevice) {
  constexpr std::int64_t kCount = std::int64_t{1} << 24U;
  const std::int64_t free_bytes = cuda_device_info(0).free_bytes;
  stream_->enqueue([held = on_device(kCount), pinned = on_host(1000)] {});
  stream_->synchronize();
  EXPECT_EQ(backend_->memory()->in_use_bytes(), 0);
  // It is given back when CUDA can be called again, which host functions cannot.
  on_device(10);
  EXPECT_GT(cuda_device_info(0).free_bytes, free_bytes - kCount * size_bytes(DType::fp32) / 2);
}

TEST_F(CudaStreams, HaveEventsThatOnlyTheDeviceSets) {
  const Event event = stream_->record();
  EXPECT_THROW(event.set(), InvalidArgument);
  EXPECT_THROW(event.fail(nullptr), InvalidArgument);
}

TEST_F(CudaStreams, AreUsedFromSeveralThreads) {
  constexpr int kThreads = 4;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      const auto stream = backend_->make_stream("thread");
      const Tensor x = on_device(100), result = on_host(100);
      backend_->run(*stream, Zero{.y = x});
      stream->copy(result, x);
      stream->record().wait();
      for (const float value : result.span<float>()) EXPECT_EQ(value, 0);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(CudaStreams, RepeatKernelsAsGraphsWithTheSameResults) {
  constexpr std::int64_t kCount = 3000;
  const auto backend = make_cuda_backend({.graphs = CudaGraphs::on});
  const auto stream = backend->make_stream("test");
  const Tensor x = backend->allocate_tensor(DType::fp32, {kCount}, MemoryKind::workspace);
  const Tensor one = backend->allocate_tensor(DType::fp32, {kCount}, MemoryKind::workspace);
  const Tensor host = backend->allocate_host_tensor(DType::fp32, {kCount}, MemoryKind::staging);
  std::ranges::fill(host.span<float>(), 1.0F);
  backend->copy(one, host);
  const auto twice = backend->prepare(Sum{.inputs = {x, x}, .y = x});
  const auto plus_one = backend->prepare(Sum{.inputs = {x, one}, .y = x});
  // Sequences that begin alike, in changing order; an event in between makes two of one.
  const auto run = [&](std::initializer_list<const KernelCall*> calls, bool cut) {
    std::ranges::fill(host.span<float>(), 3.0F);
    stream->copy(x, host);
    for (const KernelCall* call : calls) {
      call->launch(*stream);
      if (cut && call == twice.get()) stream->wait(stream->record());
    }
    stream->copy(host, x);
    stream->synchronize();
    EXPECT_EQ(host.span<float>()[0], host.span<float>()[kCount - 1]);
    return host.span<float>()[0];
  };
  const KernelCall *t = twice.get(), *p = plus_one.get();
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(run({p, p, p, p, t}, false), 14);
    EXPECT_EQ(run({p, p, p, p, t, t}, i % 2 == 0), 28);
    EXPECT_EQ(run({p, p, p, p}, false), 7);
    EXPECT_EQ(run({t, p, p, p, p}, true), 10);
  }
  // A call that takes the place of another in memory is not taken for it.
  for (int i = 0; i < 3; ++i) {
    const bool adds = i == 2;
    const auto changing =
        adds ? backend->prepare(Sum{.inputs = {x, one}, .y = x}) : backend->prepare(Sum{.inputs = {x, x}, .y = x});
    const KernelCall* c = changing.get();
    EXPECT_EQ(run({c, c, c, c, c}, false), adds ? 8 : 96);
  }
}

TEST_F(CudaStreams, RunHostFunctionsAfterKernelsThatAreKeptBackForAGraph) {
  const auto backend = make_cuda_backend({.graphs = CudaGraphs::on});
  const auto stream = backend->make_stream("test");
  const Tensor x = backend->allocate_host_tensor(DType::fp32, {100}, MemoryKind::staging);
  std::ranges::fill(x.span<float>(), 1.0F);
  float seen = 0;
  const auto twice = backend->prepare(Sum{.inputs = {x, x}, .y = x});
  twice->launch(*stream);
  stream->enqueue([&] { seen = x.span<float>()[0]; });
  stream->synchronize();
  EXPECT_EQ(seen, 2);
}

TEST_F(CudaStreams, RefuseStreamsOfOtherBackends) {
  const auto host = make_cpu_stream("host", 1);
  const Tensor x = on_device(3);
  EXPECT_THROW(backend_->run(*host, Sum{.inputs = {x}, .y = x}), InvalidArgument);
  EXPECT_THROW(backend_->run(*host, Zero{.y = x}), InvalidArgument);
}

TEST(CudaBackend, KeepsItsMemoryFromTheHost) {
  const auto backend = make_cuda_backend({});
  EXPECT_EQ(backend->name(), "cuda");
  EXPECT_FALSE(backend->host_accessible());
  {
    const Tensor x = backend->allocate_tensor(DType::fp16, {100}, MemoryKind::weights);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(x.view().raw()) % 256, 0U);
    EXPECT_EQ(backend->memory()->in_use_bytes(MemoryKind::weights), 200);
  }
  EXPECT_EQ(backend->memory()->in_use_bytes(), 0);
  EXPECT_THROW(backend->allocate(-1, MemoryKind::weights), InvalidArgument);
}

TEST(CudaBackend, CopiesForSeveralThreads) {
  constexpr int kThreads = 4, kTimes = 50;
  constexpr std::int64_t kCount = 1000;
  const auto backend = make_cuda_backend({});
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      const Tensor x = backend->allocate_tensor(DType::fp32, {kCount}, MemoryKind::workspace);
      for (int i = 0; i < kTimes; ++i) {
        const std::vector<float> values(kCount, static_cast<float>(kThreads * i + t));
        std::vector<float> back(kCount);
        backend->copy(x, {values.data(), DType::fp32, Shape{kCount}});
        backend->copy({back.data(), DType::fp32, Shape{kCount}}, x);
        EXPECT_EQ(back, values);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(CudaBackend, SaysHowMuchMemoryIsMissing) {
  const auto backend = make_cuda_backend({});
  try {
    backend->allocate(std::int64_t{1} << 45U, MemoryKind::activations);
    FAIL() << "no device has 32 TiB";
  } catch (const DeviceError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("has no 35184372088832 bytes of memory for activations"), std::string::npos) << text;
  }
  backend->allocate(1000, MemoryKind::activations);  // and goes on
}

TEST(CudaBackend, RefusesADeviceThatIsNotThere) {
  EXPECT_THROW(make_cuda_backend({.device = 1000}), DeviceError);
  EXPECT_THROW(make_cuda_backend({.device = -1}), DeviceError);
  EXPECT_THROW(cuda_device_info(1000), DeviceError);
}

TEST(CudaBackend, DescribesItsDevice) {
  std::string reason;
  EXPECT_GE(cuda_device_count(reason), 1);
  const CudaDeviceInfo info = cuda_device_info(0);
  EXPECT_FALSE(info.name.empty());
  EXPECT_EQ(info.identity.size(), 4U + 32U);
  EXPECT_GE(info.capability, 75);
  EXPECT_GT(info.memory_bytes, 0);
}

}  // namespace
}  // namespace minim::gpu
