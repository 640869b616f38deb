#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <new>

#include "minim/runtime/stream.h"

namespace {
thread_local std::int64_t allocations_of_this_thread = 0;
}

// Counts; the other forms of `new` end up here. In an executable of its own, so that no other test is affected.
// Not inlined: where some are and others not, g++ takes `free` of what comes from `new` for a mistake.
[[gnu::noinline]] void* operator new(std::size_t size_bytes) {
  ++allocations_of_this_thread;
  if (void* memory = std::malloc(size_bytes)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace minim {
namespace {

constexpr int kLaunches = 1000;

/// Work that reports that it has begun and ends when told to.
struct Gate {
  Event entered = Event::manual();
  Event open = Event::manual();
  std::function<void()> work = [this] {
    entered.set();
    open.wait();
  };
};

TEST(Stream, AllocatesNothingForBorrowedWorkAndCopiesInTheSteadyState) {
  std::int64_t runs = 0, worker_begin = 0, worker_end = 0;
  const std::function<void()> work = [&runs] { ++runs; };
  const std::function<void()> begin = [&worker_begin] { worker_begin = allocations_of_this_thread; };
  const std::function<void()> end = [&worker_end] { worker_end = allocations_of_this_thread; };
  const auto stream = make_cpu_stream("test", 1);
  std::int64_t copied = 0;
  const TensorView from(&runs, DType::int64, Shape{1}), to(&copied, DType::int64, Shape{1});

  // While a gate holds the worker, everything enqueued waits in the queue at once; two rounds grow whatever the queue keeps.
  Gate gates[4];
  const auto fill_queue_up_to = [&](const Gate& next) {
    stream->enqueue_borrowed(&begin);
    for (int i = 0; i < kLaunches; ++i) {
      stream->enqueue_borrowed(&work);
      stream->copy(to, from);
    }
    stream->enqueue_borrowed(&end);
    stream->enqueue_borrowed(&next.work);
  };
  stream->enqueue_borrowed(&gates[0].work);
  gates[0].entered.wait();
  for (int round = 0; round < 2; ++round) {
    fill_queue_up_to(gates[round + 1]);
    gates[round].open.set();
    gates[round + 1].entered.wait();
  }

  const std::int64_t host_begin = allocations_of_this_thread;
  fill_queue_up_to(gates[3]);
  const std::int64_t host_end = allocations_of_this_thread;
  gates[2].open.set();
  gates[3].entered.wait();
  gates[3].open.set();
  stream->synchronize();

  EXPECT_EQ(host_end - host_begin, 0);
  EXPECT_EQ(worker_end - worker_begin, 0);
  EXPECT_EQ(runs, 3 * kLaunches);
  EXPECT_EQ(copied, runs);
}

}  // namespace
}  // namespace minim
