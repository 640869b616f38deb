#pragma once

#include "cuda/element.cuh"
#include "cuda/launch.h"

/// Loops over all elements of equally long arrays, in packs where the arrays are aligned. A thread reads an element of every
/// source before it writes the destination there, so that these may be the same array.
namespace minim::cuda {

/// So many packs, then single elements up to `elements`.
struct FlatLoop {
  std::int64_t packs;
  std::int64_t elements;
};

/// The loop over arrays that start at the addresses, in packs of `kCount` elements.
template <int kCount, class... Arrays>
FlatLoop flat_loop(std::int64_t elements, const Arrays*... arrays) {
  return {.packs = (is_aligned(arrays) && ...) ? elements / kCount : 0, .elements = elements};
}

/// A thread for each pack, or for each single element where there are more of them.
template <int kCount>
LaunchShape shape_for(const FlatLoop& loop) {
  const std::int64_t singles = loop.elements - loop.packs * kCount;
  return shape_for(loop.packs > singles ? loop.packs : singles);
}

/// to[i] = function(from[i]) for all i.
template <int kCount, class Function, class To, class From>
__device__ void for_flat(const FlatLoop& loop, Function function, To* to, const From* from) {
  for (std::int64_t i = grid_thread(); i < loop.packs; i += grid_threads()) {
    const Pack<From, kCount> in = load_pack<kCount>(from + i * kCount);
    Pack<To, kCount> out;
    for (int k = 0; k < kCount; ++k) out.values[k] = function(in.values[k]);
    store_pack(to + i * kCount, out);
  }
  for (std::int64_t i = loop.packs * kCount + grid_thread(); i < loop.elements; i += grid_threads()) to[i] = function(from[i]);
}

/// to[i] = function(a[i], b[i]) for all i.
template <int kCount, class Function, class To, class A, class B>
__device__ void for_flat(const FlatLoop& loop, Function function, To* to, const A* a, const B* b) {
  for (std::int64_t i = grid_thread(); i < loop.packs; i += grid_threads()) {
    const Pack<A, kCount> in_a = load_pack<kCount>(a + i * kCount);
    const Pack<B, kCount> in_b = load_pack<kCount>(b + i * kCount);
    Pack<To, kCount> out;
    for (int k = 0; k < kCount; ++k) out.values[k] = function(in_a.values[k], in_b.values[k]);
    store_pack(to + i * kCount, out);
  }
  for (std::int64_t i = loop.packs * kCount + grid_thread(); i < loop.elements; i += grid_threads()) {
    to[i] = function(a[i], b[i]);
  }
}

}  // namespace minim::cuda
