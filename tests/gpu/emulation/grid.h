#pragma once

#include <vector_functions.h>

#include <cstddef>
#include <cstdint>
#include <source_location>

#include "doubles/double.h"

/// How kernels run on the CPU: what their translation units call.
namespace minim::emulation {

/// A kernel's launch.
struct Grid {
  double_dim grid, block;
  std::uint64_t seed;
  void (*thread)(void* packed);  ///< runs one thread
  void* packed;
  void* (*shared)();  ///< an address among the shared memory of the kernel's library, of the calling thread
};

/// Runs the blocks one after the other in an order that `seed` chooses; the threads of a block in turns, from one barrier to the
/// next, in another. Built with ThreadSanitizer, two blocks run at a time.
void run(const Grid& grid);

// What the thread that is running asks.
uint3 thread_index();
uint3 block_index();
dim3 block_size();
dim3 grid_size();
unsigned lane();

/// Waits for all threads of the block. Refuses when they wait at different places, or when some have ended.
void barrier(const std::source_location& place);
/// Waits for the threads of the warp that `mask` names.
void warp_barrier(unsigned mask, const std::source_location& place);
/// Gives `value`, returns that of lane `source`. Refuses a source that does not take part. Orders no memory, as on a GPU.
std::uint64_t shuffle(unsigned mask, std::uint64_t value, unsigned source, const std::source_location& place);

}  // namespace minim::emulation
