#include "cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/reduction.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "cpu/lanes-inl.h"
#include "minim/runtime/simd.h"

HWY_BEFORE_NAMESPACE();
namespace minim::cpu::HWY_NAMESPACE {
namespace {

/// How far ahead of the sums the sources are fetched: pages of several ranks come in turn, which the hardware follows late.
constexpr std::uintptr_t kPrefetchBytes = 2048;
constexpr std::int64_t kCacheLineBytes = 64;

/// The sources as `T`. With a `kCount` the compiler knows their number and keeps their addresses in registers.
template <class T, int kCount>
struct Sources {
  explicit Sources(std::span<const void* const> sources) {
    for (int s = 0; s < kCount; ++s) arrays[s] = static_cast<const T*>(sources[static_cast<std::size_t>(s)]);
  }
  static constexpr std::int64_t count() { return kCount; }
  const T* operator[](std::int64_t s) const { return arrays[s]; }

  const T* arrays[kCount];
};

/// Any number of sources.
template <class T>
struct Sources<T, 0> {
  explicit Sources(std::span<const void* const> sources) : arrays(sources) {}
  std::int64_t count() const { return static_cast<std::int64_t>(arrays.size()); }
  const T* operator[](std::int64_t s) const { return static_cast<const T*>(arrays[static_cast<std::size_t>(s)]); }

  std::span<const void* const> arrays;
};

template <class Lanes, class T, int kCount>
HWY_API VFloats sum_at(Lanes lanes, const Sources<T, kCount>& sources, std::int64_t i) {
  VFloats sum = load(lanes, sources[0] + i);
  for (std::int64_t s = 1; s < sources.count(); ++s) sum = hn::Add(sum, load(lanes, sources[s] + i));
  return sum;
}

/// Calls `emit(lanes, sum, i)` for the sums over [begin, end), a cache line of sources at a time.
template <class T, int kCount, class Emit>
HWY_API void for_sums(const Sources<T, kCount>& sources, std::int64_t begin, std::int64_t end, const Emit& emit) {
  constexpr std::int64_t kLine = kCacheLineBytes / static_cast<std::int64_t>(sizeof(T));
  constexpr std::int64_t kStep = kLine > kLanes ? kLine : kLanes;
  std::int64_t i = begin;
  for (; i + kStep <= end; i += kStep) {
    for (std::int64_t s = 0; s < sources.count(); ++s) prefetch(sources[s] + i, kPrefetchBytes);
    for (std::int64_t k = i; k < i + kStep; k += kLanes) emit(AllLanes{}, sum_at(AllLanes{}, sources, k), k);
  }
  for_lanes(i, end, [&](auto lanes, std::int64_t k) { emit(lanes, sum_at(lanes, sources, k), k); });
}

template <class T>
HWY_API void store_everywhere(AllLanes /*lanes*/, VFloats v, std::span<void* const> destinations, std::int64_t i) {
  const auto bits = stored_as(T{}, v);
  for (void* destination : destinations) store_bits(bits, static_cast<T*>(destination) + i);
}
template <class T>
HWY_API void store_everywhere(FirstLanes lanes, VFloats v, std::span<void* const> destinations, std::int64_t i) {
  for (void* destination : destinations) store(lanes, v, static_cast<T*>(destination) + i);
}

template <class T, int kCount>
void reduce_scaled_count(const Sources<T, kCount>& sources, std::int64_t begin, std::int64_t end, float scale,
                         std::span<void* const> destinations) {
  const VFloats factor = hn::Set(kFloats, scale);
  for_sums(sources, begin, end,
           [&](auto lanes, VFloats sum, std::int64_t i) { store_everywhere<T>(lanes, hn::Mul(sum, factor), destinations, i); });
}

template <class T, int kCount>
void reduce_to_float_count(const Sources<T, kCount>& sources, std::int64_t begin, std::int64_t end, float* sums) {
  for_sums(sources, begin, end, [=](auto lanes, VFloats sum, std::int64_t i) { store(lanes, sum, sums + (i - begin)); });
}

template <class T, class F>
void with_count(std::span<const void* const> sources, const F& f) {
  switch (sources.size()) {
    case 1: return f(Sources<T, 1>{sources});
    case 2: return f(Sources<T, 2>{sources});
    case 3: return f(Sources<T, 3>{sources});
    case 4: return f(Sources<T, 4>{sources});
    default: return f(Sources<T, 0>{sources});
  }
}

void reduce_scaled(std::span<const void* const> sources, DType dtype, std::int64_t begin, std::int64_t end, float scale,
                   std::span<void* const> destinations) {
  dispatch_floating(dtype, [&](auto type) {
    with_count<decltype(type)>(sources, [&](const auto& typed) { reduce_scaled_count(typed, begin, end, scale, destinations); });
  });
}

void reduce_to_float(std::span<const void* const> sources, DType dtype, std::int64_t begin, std::int64_t end, float* sums) {
  dispatch_floating(dtype, [&](auto type) {
    with_count<decltype(type)>(sources, [&](const auto& typed) { reduce_to_float_count(typed, begin, end, sums); });
  });
}

}  // namespace
}  // namespace minim::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace minim::cpu {
namespace {
HWY_EXPORT(reduce_scaled);
HWY_EXPORT(reduce_to_float);
}  // namespace

void dispatch_reduce_scaled(std::span<const void* const> sources, DType dtype, std::int64_t begin, std::int64_t end, float scale,
                            std::span<void* const> destinations) {
  HWY_DYNAMIC_DISPATCH(reduce_scaled)(sources, dtype, begin, end, scale, destinations);
}

void dispatch_reduce_to_float(std::span<const void* const> sources, DType dtype, std::int64_t begin, std::int64_t end,
                              float* sums) {
  HWY_DYNAMIC_DISPATCH(reduce_to_float)(sources, dtype, begin, end, sums);
}

}  // namespace minim::cpu

namespace minim::simd {

void reduce_scaled(std::span<const void* const> sources, DType dtype, std::int64_t begin, std::int64_t end, float scale,
                   std::span<void* const> destinations) {
  if (sources.empty()) throw InvalidArgument("reduction: there is no source");
  cpu::dispatch_reduce_scaled(sources, dtype, begin, end, scale, destinations);
}

void reduce_to_float(std::span<const void* const> sources, DType dtype, std::int64_t begin, std::int64_t end, float* sums) {
  if (sources.empty()) throw InvalidArgument("reduction: there is no source");
  cpu::dispatch_reduce_to_float(sources, dtype, begin, end, sums);
}

}  // namespace minim::simd
#endif  // HWY_ONCE
