#pragma once

#include <math.h>

#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <source_location>

#include "emulation/grid.h"

// What kernels call, under the names that nvcc gives it.

#define threadIdx (::minim::emulation::thread_index())
#define blockIdx (::minim::emulation::block_index())
#define blockDim (::minim::emulation::block_size())
#define gridDim (::minim::emulation::grid_size())
inline constexpr int warpSize = 32;

inline void __syncthreads(const std::source_location& place = std::source_location::current()) {
  minim::emulation::barrier(place);
}
inline void __syncwarp(unsigned mask = 0xFFFFFFFFU, const std::source_location& place = std::source_location::current()) {
  minim::emulation::warp_barrier(mask, place);
}

namespace minim::emulation {

/// `source` counts within the part of `width` lanes that the calling lane is in; beyond it, a lane gets its own value.
template <class T>
T shuffle_within(unsigned mask, T value, int source, int width, const std::source_location& place) {
  static_assert(sizeof(T) <= sizeof(std::uint64_t));
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  const int own = static_cast<int>(lane()), first = own / width * width;
  const int from = source < 0 || source >= width ? own : first + source;
  bits = shuffle(mask, bits, static_cast<unsigned>(from), place);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline int lane_within(int width) { return static_cast<int>(lane()) % width; }

}  // namespace minim::emulation

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = warpSize,
              const std::source_location& place = std::source_location::current()) {
  return minim::emulation::shuffle_within(mask, value, (source % width + width) % width, width, place);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = warpSize,
                  const std::source_location& place = std::source_location::current()) {
  return minim::emulation::shuffle_within(mask, value, minim::emulation::lane_within(width) ^ lanes, width, place);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned lanes, int width = warpSize,
                   const std::source_location& place = std::source_location::current()) {
  return minim::emulation::shuffle_within(mask, value, minim::emulation::lane_within(width) + static_cast<int>(lanes), width,
                                          place);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned lanes, int width = warpSize,
                 const std::source_location& place = std::source_location::current()) {
  return minim::emulation::shuffle_within(mask, value, minim::emulation::lane_within(width) - static_cast<int>(lanes), width,
                                          place);
}

template <class T>
T __ldg(const T* address) {
  return *address;
}

// Integers only: the order of floating-point additions would change results. Relaxed, as on a GPU.
template <std::integral T>
T atomicAdd(T* address, T value) {
  return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
}
template <std::integral T>
T atomicOr(T* address, T value) {
  return __atomic_fetch_or(address, value, __ATOMIC_RELAXED);
}
template <std::integral T>
T atomicAnd(T* address, T value) {
  return __atomic_fetch_and(address, value, __ATOMIC_RELAXED);
}
template <std::integral T>
T atomicExch(T* address, T value) {
  return __atomic_exchange_n(address, value, __ATOMIC_RELAXED);
}
template <std::integral T>
T atomicCAS(T* address, T expected, T value) {
  __atomic_compare_exchange_n(address, &expected, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  return expected;
}
template <std::integral T>
T atomicMin(T* address, T value) {
  T old = __atomic_load_n(address, __ATOMIC_RELAXED);
  while (value < old && !__atomic_compare_exchange_n(address, &old, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) continue;
  return old;
}
template <std::integral T>
T atomicMax(T* address, T value) {
  T old = __atomic_load_n(address, __ATOMIC_RELAXED);
  while (old < value && !__atomic_compare_exchange_n(address, &old, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) continue;
  return old;
}

inline float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }
inline unsigned __float_as_uint(float value) { return std::bit_cast<unsigned>(value); }
inline float __int_as_float(int bits) { return std::bit_cast<float>(bits); }
inline int __float_as_int(float value) { return std::bit_cast<int>(value); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
