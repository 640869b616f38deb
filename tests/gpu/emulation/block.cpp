#include "emulation/block.h"

#include <algorithm>
#include <numeric>
#include <set>

namespace minim::emulation {
namespace {

constexpr std::size_t kMostThreads = 1024;

std::string text(const std::source_location& place) {
  return std::string(place.file_name()) + ":" + std::to_string(place.line());
}

bool same(const std::source_location& a, const std::source_location& b) {
  return a.line() == b.line() && a.column() == b.column() && std::string_view(a.file_name()) == b.file_name();
}

}  // namespace

Block& Block::current() {
  thread_local Block block;
  return block;
}

Block::Block() {
  const doubles::Hidden hidden;
  fibers_.reserve(kMostThreads);
  idle_.reserve(kMostThreads);
}

void Block::run(const Grid& grid, uint3 index, std::uint64_t seed) {
  prepare(grid, index, seed);
  begin_.publish();
  start_threads();
  while (ended_ < threads_.size()) {
    const bool released = release_warps() || release_barrier();
    const bool resumed = resume_threads();
    if (!released && !resumed) refuse_stuck();
  }
  end_.observe();
}

void Block::prepare(const Grid& grid, uint3 index, std::uint64_t seed) {
  const doubles::Hidden hidden;
  grid_ = &grid;
  index_ = index;
  const double_dim size = grid.block;
  const unsigned count = size.x * size.y * size.z;
  threads_.assign(count, {});
  for (unsigned i = 0; i < count; ++i) {
    threads_[i].index = make_uint3(i % size.x, i / size.x % size.y, i / size.x / size.y);
    threads_[i].number = i;
  }
  order_.resize(count);
  std::iota(order_.begin(), order_.end(), 0U);
  std::minstd_rand random(static_cast<unsigned>(seed % 2147483646U) + 1);
  std::shuffle(order_.begin(), order_.end(), random);
  started_ = ended_ = at_barrier_ = 0;
  warps_.resize((count + kWarpThreads - 1) / kWarpThreads);
}

void Block::serve(void* self) {
  auto* block = static_cast<Block*>(self);
  Fiber& fiber = *block->starting_;
  for (;;) {
    block->serve_fiber(fiber);
    block->idle_.push_back(&fiber);
    fiber.suspend();
  }
}

/// Runs threads that have not started yet, until there are none: one of them may be left waiting meanwhile, on another fiber
/// then.
void Block::serve_fiber(Fiber& fiber) {
  const bool one_only = doubles::has_thread_sanitizer();
  while (started_ < order_.size()) {
    Thread& thread = threads_[order_[started_++]];
    thread.fiber = &fiber;
    thread.state = ThreadState::runnable;
    thread_ = &thread;
    begin_.observe();
    grid_->thread(grid_->packed);
    end_.publish();
    thread.state = ThreadState::ended;
    ++ended_;
    if (one_only) return;
  }
}

void Block::start_threads() {
  while (started_ < order_.size()) {
    if (idle_.empty()) {
      const doubles::Hidden hidden;
      fibers_.push_back(std::make_unique<Fiber>(&Block::serve, this));
      idle_.push_back(fibers_.back().get());
    }
    starting_ = idle_.back();
    idle_.pop_back();
    starting_->resume();
  }
}

bool Block::resume_threads() {
  bool any = false;
  for (const unsigned number : order_) {
    Thread& thread = threads_[number];
    if (thread.state != ThreadState::runnable) continue;
    any = true;
    thread_ = &thread;
    thread.fiber->resume();
  }
  return any;
}

void Block::wait(ThreadState state, const std::source_location& place) {
  Thread& thread = *thread_;
  thread.state = state;
  thread.place = place;
  thread.fiber->suspend();
}

void Block::barrier(const std::source_location& place) {
  doubles::Order& order = barriers_[generation_ % 2];
  order.publish();
  ++at_barrier_;
  wait(ThreadState::at_barrier, place);
  order.observe();
}

bool Block::release_barrier() {
  if (at_barrier_ == 0 || at_barrier_ + ended_ < threads_.size()) return false;
  const auto waiting = std::find_if(threads_.begin(), threads_.end(),
                                    [](const Thread& thread) { return thread.state == ThreadState::at_barrier; });
  if (ended_ > 0) refuse("threads have ended while others wait at the barrier " + text(waiting->place));
  for (Thread& thread : threads_) {
    if (!same(thread.place, waiting->place)) {
      refuse("threads wait at different barriers, " + text(waiting->place) + " and " + text(thread.place));
    }
    thread.state = ThreadState::runnable;
  }
  at_barrier_ = 0;
  ++generation_;
  return true;
}

void Block::warp_barrier(unsigned mask, const std::source_location& place) {
  thread_->mask = mask;
  thread_->is_shuffle = false;
  doubles::Order& order = warps_[thread_->number / kWarpThreads];
  order.publish();
  wait(ThreadState::in_warp, place);
  order.observe();
}

std::uint64_t Block::shuffle(unsigned mask, std::uint64_t value, unsigned source, const std::source_location& place) {
  Thread& thread = *thread_;
  thread.mask = mask;
  thread.value = value;
  thread.source = source;
  thread.is_shuffle = true;
  wait(ThreadState::in_warp, place);
  return thread.value;
}

Thread* Block::lane_of(unsigned warp, unsigned lane) {
  const std::size_t number = warp * kWarpThreads + lane;
  return number < threads_.size() ? &threads_[number] : nullptr;
}

bool Block::release_warps() {
  bool any = false;
  for (Thread& thread : threads_) {
    if (thread.state == ThreadState::in_warp) any = release_group(thread) || any;
  }
  return any;
}

/// Lets the threads go on that `first` waits for, when all of them wait for each other. Threads that have ended are not waited
/// for.
bool Block::release_group(Thread& first) {
  std::vector<Thread*> group;
  const unsigned own_lane = first.number % kWarpThreads;
  if ((first.mask >> own_lane & 1U) == 0) refuse("a thread is not in its own mask of lanes at " + text(first.place));
  for (unsigned lane = 0; lane < kWarpThreads; ++lane) {
    Thread* thread = lane_of(first.number / kWarpThreads, lane);
    if ((first.mask >> lane & 1U) == 0 || thread == nullptr || thread->state == ThreadState::ended) continue;
    if (thread->state != ThreadState::in_warp || thread->mask != first.mask || !same(thread->place, first.place)) return false;
    group.push_back(thread);
  }
  if (first.is_shuffle) exchange(group);
  for (Thread* thread : group) thread->state = ThreadState::runnable;
  return true;
}

void Block::exchange(const std::vector<Thread*>& group) {
  std::uint64_t values[kWarpThreads];
  unsigned taking_part = 0;
  for (const Thread* thread : group) {
    values[thread->number % kWarpThreads] = thread->value;
    taking_part |= 1U << thread->number % kWarpThreads;
  }
  for (Thread* thread : group) {
    if ((taking_part >> thread->source & 1U) == 0) {
      refuse("a shuffle reads lane " + std::to_string(thread->source) + ", which does not take part, at " + text(thread->place));
    }
    thread->value = values[thread->source];
  }
}

void Block::refuse(const std::string& what) const {
  const std::string index = std::to_string(index_.x) + ", " + std::to_string(index_.y) + ", " + std::to_string(index_.z);
  double_refuse((what + ", in block (" + index + ")").c_str());
}

/// Nobody can go on: some wait for a barrier that others do not reach.
void Block::refuse_stuck() const {
  std::set<std::string> places;
  for (const Thread& thread : threads_) {
    if (thread.state != ThreadState::ended) places.insert(text(thread.place));
  }
  std::string list;
  for (const std::string& place : places) list += (list.empty() ? "" : ", ") + place;
  refuse("threads wait for each other without end, at " + list);
}

}  // namespace minim::emulation
