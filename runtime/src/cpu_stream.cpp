#include <fmt/format.h>
#include <omp.h>
#include <pthread.h>

#include <condition_variable>
#include <cstring>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "host_event_state.h"
#include "minim/runtime/error.h"
#include "minim/runtime/stream.h"

namespace minim {
namespace {

struct Copy {
  void* to = nullptr;
  const void* from = nullptr;
  std::size_t size_bytes = 0;
};

/// One entry of the queue: what is set of it takes its turn.
struct Item {
  const std::function<void()>* borrowed = nullptr;
  std::function<void()> owned;
  Copy copy;
  Event awaited;
  std::shared_ptr<detail::EventState> recorded;
};

class CpuStream final : public Stream {
 public:
  CpuStream(std::string name, int threads) : worker_([this, name = std::move(name), threads] { work(name, threads); }) {}

  ~CpuStream() override {
    {
      const std::scoped_lock lock(mutex_);
      closing_ = true;
    }
    changed_.notify_one();
    worker_.join();
  }

  void enqueue(std::function<void()> work) override { push({.owned = std::move(work)}); }
  void enqueue_borrowed(const std::function<void()>* work) override { push({.borrowed = work}); }
  void copy(TensorView to, ConstTensorView from) override {
    detail::check_copy(to, from);
    push({.copy = {to.raw(), from.raw(), static_cast<std::size_t>(from.size_bytes())}});
  }
  void wait(const Event& event) override { push({.awaited = event}); }
  Event record() override {
    auto state = std::make_shared<detail::HostEventState>();
    push({.recorded = state});
    return Event(std::move(state));
  }
  void synchronize() override { record().wait(); }

 private:
  void push(Item item) {
    {
      const std::scoped_lock lock(mutex_);
      pending_.push_back(std::move(item));
    }
    changed_.notify_one();
  }

  void work(const std::string& name, int threads) {
    pthread_setname_np(pthread_self(), name.substr(0, kThreadNameLength).c_str());
    omp_set_num_threads(threads);
    while (take_pending()) {
      for (Item& item : running_) run(item);
      running_.clear();
    }
  }

  /// Moves what is pending to `running_`, waiting for it. The two vectors swap places and keep their memory, so that a steady
  /// state allocates nothing. False at the end.
  bool take_pending() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return closing_ || !pending_.empty(); });
    std::swap(pending_, running_);
    return !running_.empty();
  }

  void run(Item& item) {
    if (item.recorded) item.recorded->finish(failure_);
    if (!failure_) {
      try {
        item.awaited.wait();
        if (item.borrowed) (*item.borrowed)();
        if (item.owned) item.owned();
        if (item.copy.size_bytes > 0) std::memcpy(item.copy.to, item.copy.from, item.copy.size_bytes);
      } catch (...) {
        failure_ = std::current_exception();
      }
    }
    item = {};  // what the work holds is let go now, not with the rest of the batch
  }

  static constexpr std::size_t kThreadNameLength = 15;  // the kernel's limit

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Item> pending_;
  bool closing_ = false;
  std::vector<Item> running_;   // the worker's alone, as is failure_
  std::exception_ptr failure_;  // of the first item that failed
  std::thread worker_;          // last: starts when the rest is there
};

}  // namespace

std::unique_ptr<Stream> make_cpu_stream(std::string name, int threads) {
  if (threads < 1) throw InvalidArgument(fmt::format("stream \"{}\" of {} threads: 1 or more is wanted", name, threads));
  return std::make_unique<CpuStream>(std::move(name), threads);
}

}  // namespace minim
