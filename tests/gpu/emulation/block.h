#pragma once

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "emulation/fiber.h"
#include "emulation/grid.h"
#include "sanitizers.h"

namespace minim::emulation {

inline constexpr unsigned kWarpThreads = 32;

/// Where a thread of a kernel stands.
enum class ThreadState { fresh, runnable, at_barrier, in_warp, ended };

struct Thread {
  uint3 index;
  unsigned number;  ///< within the block
  Fiber* fiber = nullptr;
  ThreadState state = ThreadState::fresh;
  std::source_location place;  ///< where it waits
  // What it wants of its warp.
  unsigned mask = 0;
  std::uint64_t value = 0;
  unsigned source = 0;
  bool is_shuffle = false;
};

/// Runs the blocks of grids, one at a time, on the thread that it belongs to. A thread without barriers costs no switch: the next
/// one runs behind it on the same fiber, except where ThreadSanitizer has to tell them apart.
class Block {
 public:
  /// The one that runs on the calling thread.
  static Block& current();

  Block();
  void run(const Grid& grid, uint3 index, std::uint64_t seed);

  // Called on a fiber.
  void barrier(const std::source_location& place);
  void warp_barrier(unsigned mask, const std::source_location& place);
  std::uint64_t shuffle(unsigned mask, std::uint64_t value, unsigned source, const std::source_location& place);

  const Thread& thread() const { return *thread_; }
  const Grid& grid() const { return *grid_; }
  uint3 index() const { return index_; }

 private:
  static void serve(void* self);
  void serve_fiber(Fiber& fiber);
  void prepare(const Grid& grid, uint3 index, std::uint64_t seed);
  void start_threads();
  bool resume_threads();
  bool release_barrier();
  bool release_warps();
  bool release_group(Thread& first);
  Thread* lane_of(unsigned warp, unsigned lane);
  void wait(ThreadState state, const std::source_location& place);
  void exchange(const std::vector<Thread*>& group);
  [[noreturn]] void refuse(const std::string& what) const;
  [[noreturn]] void refuse_stuck() const;

  const Grid* grid_ = nullptr;
  uint3 index_ = {};
  std::vector<Thread> threads_;
  std::vector<unsigned> order_;  // in which threads are started and go on
  std::size_t started_ = 0;      // of `order_`
  std::size_t ended_ = 0, at_barrier_ = 0;
  Thread* thread_ = nullptr;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
  Fiber* starting_ = nullptr;
  doubles::Order begin_, end_;
  doubles::Order barriers_[2];  // in turns: who is early at the next one must not be taken for who was at the last
  std::vector<doubles::Order> warps_;
  unsigned generation_ = 0;
};

}  // namespace minim::emulation
