#pragma once

#include <cuda_runtime_api.h>

/// Reductions over the threads of a warp and of a block, always in the same order, so that results repeat.
namespace minim::cuda {

inline constexpr int kWarpThreads = 32;
inline constexpr unsigned kWholeWarp = 0xFFFFFFFFU;

struct Add {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
/// A NaN wins.
struct Largest {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a > b || a != a ? a : b;
  }
};
struct Smallest {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a < b || a != a ? a : b;
  }
};

/// The values of a warp's 32 threads combined, in every thread: neighbours at distance 16, then 8, 4, 2, 1. `combine` is
/// commutative. All threads of the warp call it.
template <class T, class Combine>
__device__ T warp_reduce(T value, Combine combine) {
  for (int distance = kWarpThreads / 2; distance > 0; distance /= 2) {
    value = combine(value, __shfl_xor_sync(kWholeWarp, value, distance));
  }
  return value;
}

template <class T>
__device__ T warp_sum(T value) {
  return warp_reduce(value, Add{});
}

/// The values of a block's `kThreads` threads combined, in every thread: warps as above, then the warps in their order. The block
/// is one-dimensional; all its threads call it, as often as they like.
template <int kThreads, class T, class Combine>
__device__ T block_reduce(T value, Combine combine) {
  static_assert(kThreads % kWarpThreads == 0);
  constexpr int kWarps = kThreads / kWarpThreads;
  __shared__ T of_warp[kWarps];
  value = warp_reduce(value, combine);
  if (threadIdx.x % kWarpThreads == 0) of_warp[threadIdx.x / kWarpThreads] = value;
  __syncthreads();
  value = of_warp[0];
  for (int warp = 1; warp < kWarps; ++warp) value = combine(value, of_warp[warp]);
  __syncthreads();  // before another call writes
  return value;
}

template <int kThreads, class T>
__device__ T block_sum(T value) {
  return block_reduce<kThreads>(value, Add{});
}

}  // namespace minim::cuda
