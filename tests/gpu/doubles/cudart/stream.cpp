#include "cudart/stream.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "cudart/refuse.h"
#include "cudart/settings.h"

namespace cudart {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kSilence{50};

std::atomic<int> g_streams = 0;
std::atomic<Clock::rep> g_last_call = 0;

bool host_is_silent() { return Clock::now().time_since_epoch() - Clock::duration(g_last_call) > kSilence; }

struct Everyone {
  std::mutex mutex;
  std::vector<std::weak_ptr<Stream>> streams;
};

Everyone& everyone() {
  static Everyone& everyone = *new Everyone;  // outlives every thread
  return everyone;
}

}  // namespace

void note_call() { g_last_call = Clock::now().time_since_epoch().count(); }

void run(const Operation& operation, const Device& device) {
  if (device.lost() != cudaSuccess && !operation.runs_when_lost) return;
  const char* outer = running();
  set_running(operation.name);
  operation.run();
  set_running(outer);
}

bool Point::done() const { return stream->reached(ticket); }

void Point::wait() {
  stream->wait_for(ticket);
  reached.observe();
}

Stream::Stream(Device& device, bool blocking, int priority)
    : device_(device),
      blocking_(blocking),
      priority_(priority),
      number_(g_streams++),
      lazy_(settings().schedule.is_lazy(number_)),
      random_(settings().schedule.seed * 7919 + static_cast<std::uint64_t>(number_)) {}

std::shared_ptr<Stream> Stream::make(Device& device, bool blocking, int priority) {
  std::shared_ptr<Stream> stream(new Stream(device, blocking, priority));
  {
    const std::scoped_lock lock(everyone().mutex);
    std::erase_if(everyone().streams, [](const auto& one) { return one.expired(); });
    everyone().streams.push_back(stream);
  }
  std::thread([stream]() mutable {
    stream->serve();
    const doubles::Hidden hidden;
    stream.reset();
  }).detach();
  return stream;
}

void Stream::push(Operation operation) {
  auto order = std::make_unique<doubles::Order>();
  order->publish();
  const std::scoped_lock lock(mutex_);
  queue_.push_back({std::move(operation), std::move(order)});
  ++pushed_;
  if (!lazy_) asked_ = pushed_;
  changed_.notify_all();
}

std::shared_ptr<Point> Stream::mark() {
  auto point = std::make_shared<Point>();
  point->stream = shared_from_this();
  auto order = std::make_unique<doubles::Order>();
  order->publish();
  const std::scoped_lock lock(mutex_);
  point->ticket = ++pushed_;
  const auto reach = [point] {
    point->time = Clock::now();
    point->reached.publish();
  };
  queue_.push_back({{"an event", reach, true}, std::move(order)});
  if (!lazy_) asked_ = pushed_;
  changed_.notify_all();
  return point;
}

bool Stream::query() {
  {
    const std::scoped_lock lock(mutex_);
    asked_ = pushed_;
    changed_.notify_all();
    if (done_ < pushed_) return false;
  }
  idle_.observe();
  return true;
}

void Stream::ask(std::uint64_t ticket) {
  const doubles::Hidden hidden;
  const std::scoped_lock lock(mutex_);
  asked_ = std::max(asked_, ticket);
  changed_.notify_all();
}

bool Stream::reached(std::uint64_t ticket) const {
  const std::scoped_lock lock(mutex_);
  return done_ >= ticket;
}

void Stream::wait_for(std::uint64_t ticket) {
  const doubles::Hidden hidden;
  std::unique_lock lock(mutex_);
  asked_ = std::max(asked_, ticket);
  changed_.notify_all();
  changed_.wait(lock, [&] { return done_ >= ticket; });
}

void Stream::drain() {
  std::uint64_t ticket = 0;
  {
    const std::scoped_lock lock(mutex_);
    ticket = pushed_;
  }
  wait_for(ticket);
  idle_.observe();
}

void Stream::close() {
  const std::scoped_lock lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

bool Stream::take(Entry& entry) {
  std::unique_lock lock(mutex_);
  while (queue_.empty() || done_ >= asked_) {
    if (queue_.empty() && closed_) return false;
    if (queue_.empty()) {
      changed_.wait(lock);
    } else {
      changed_.wait_for(lock, kSilence / 5);
      if (host_is_silent()) asked_ = pushed_;
    }
  }
  entry = std::move(queue_.front());
  queue_.pop_front();
  return true;
}

void Stream::pause() {
  constexpr std::uint64_t kOneIn = 4, kLongestMicroseconds = 1000;
  if (settings().schedule.kind != ScheduleKind::random || random_() % kOneIn != 0) return;
  std::this_thread::sleep_for(std::chrono::microseconds(random_() % kLongestMicroseconds));
}

void Stream::serve() {
  const doubles::Hidden hidden;
  pthread_setname_np(pthread_self(), ("cuda stream " + std::to_string(number_)).c_str());
  for (Entry entry; take(entry); entry = {}) {
    pause();
    entry.pushed->observe();
    {
      const doubles::Shown shown;
      run(entry.operation, device_);
    }
    idle_.publish();
    entry.operation.run = nullptr;  // what it holds is gone before anyone learns that it has run
    const std::scoped_lock lock(mutex_);
    ++done_;
    changed_.notify_all();
  }
}

void wait_for_all_streams(const Device& device) {
  std::vector<std::shared_ptr<Stream>> streams;
  {
    const std::scoped_lock lock(everyone().mutex);
    for (const auto& one : everyone().streams) {
      if (auto stream = one.lock(); stream && &stream->device() == &device) streams.push_back(std::move(stream));
    }
  }
  for (const auto& stream : streams) stream->drain();
}

}  // namespace cudart
