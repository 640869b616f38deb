#include "cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/conversion.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "cpu/lanes-inl.h"
#include "cpu/parallel.h"
#include "minim/runtime/simd.h"

HWY_BEFORE_NAMESPACE();
namespace minim::cpu::HWY_NAMESPACE {
namespace {

template <class From, class To>
void convert_elements(const From* from, To* to, std::int64_t n) {
  std::int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    const VFloats v0 = load(from + i);
    const VFloats v1 = load(from + i + kLanes);
    const VFloats v2 = load(from + i + 2 * kLanes);
    const VFloats v3 = load(from + i + 3 * kLanes);
    store(v0, to + i);
    store(v1, to + i + kLanes);
    store(v2, to + i + 2 * kLanes);
    store(v3, to + i + 3 * kLanes);
  }
  for_lanes(i, n, [=](auto lanes, std::int64_t k) { store(lanes, load(lanes, from + k), to + k); });
}

void half_to_float(const Half* from, float* to, std::int64_t n) { convert_elements(from, to, n); }
void bfloat16_to_float(const BFloat16* from, float* to, std::int64_t n) { convert_elements(from, to, n); }
void float_to_half(const float* from, Half* to, std::int64_t n) { convert_elements(from, to, n); }
void float_to_bfloat16(const float* from, BFloat16* to, std::int64_t n) { convert_elements(from, to, n); }
void half_to_bfloat16(const Half* from, BFloat16* to, std::int64_t n) { convert_elements(from, to, n); }
void bfloat16_to_half(const BFloat16* from, Half* to, std::int64_t n) { convert_elements(from, to, n); }

void add_floats(const float* from, float* to, std::int64_t n) {
  for_lanes(0, n, [=](auto lanes, std::int64_t i) { store(lanes, hn::Add(load(lanes, to + i), load(lanes, from + i)), to + i); });
}

}  // namespace
}  // namespace minim::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace minim::cpu {
namespace {

HWY_EXPORT(half_to_float);
HWY_EXPORT(bfloat16_to_float);
HWY_EXPORT(float_to_half);
HWY_EXPORT(float_to_bfloat16);
HWY_EXPORT(half_to_bfloat16);
HWY_EXPORT(bfloat16_to_half);
HWY_EXPORT(add_floats);

template <class T>
void copy(const T* from, T* to, std::int64_t n) {
  if (n > 0 && from != to) std::memcpy(to, from, static_cast<std::size_t>(n) * sizeof(T));
}

void convert_piece(const float* from, Half* to, std::int64_t n) { HWY_DYNAMIC_DISPATCH(float_to_half)(from, to, n); }
void convert_piece(const float* from, BFloat16* to, std::int64_t n) { HWY_DYNAMIC_DISPATCH(float_to_bfloat16)(from, to, n); }
void convert_piece(const Half* from, float* to, std::int64_t n) { HWY_DYNAMIC_DISPATCH(half_to_float)(from, to, n); }
void convert_piece(const Half* from, BFloat16* to, std::int64_t n) { HWY_DYNAMIC_DISPATCH(half_to_bfloat16)(from, to, n); }
void convert_piece(const BFloat16* from, float* to, std::int64_t n) { HWY_DYNAMIC_DISPATCH(bfloat16_to_float)(from, to, n); }
void convert_piece(const BFloat16* from, Half* to, std::int64_t n) { HWY_DYNAMIC_DISPATCH(bfloat16_to_half)(from, to, n); }
template <class T>
void convert_piece(const T* from, T* to, std::int64_t n) {
  copy(from, to, n);
}

void convert_same(const ConstTensorView& from, const TensorView& to) {
  const auto* source = static_cast<const std::byte*>(from.raw());
  auto* destination = static_cast<std::byte*>(to.raw());
  parallel_for(from.size_bytes(), 4 * kElementsPerThread,
               [=](std::int64_t begin, std::int64_t end) { copy(source + begin, destination + begin, end - begin); });
}

}  // namespace
}  // namespace minim::cpu

namespace minim::simd {

void to_float(const Half* from, float* to, std::int64_t n) { cpu::convert_piece(from, to, n); }
void to_float(const BFloat16* from, float* to, std::int64_t n) { cpu::convert_piece(from, to, n); }
void to_float(const float* from, float* to, std::int64_t n) { cpu::convert_piece(from, to, n); }
void from_float(const float* from, Half* to, std::int64_t n) { cpu::convert_piece(from, to, n); }
void from_float(const float* from, BFloat16* to, std::int64_t n) { cpu::convert_piece(from, to, n); }
void from_float(const float* from, float* to, std::int64_t n) { cpu::convert_piece(from, to, n); }
void add(const float* from, float* to, std::int64_t n) { HWY_DYNAMIC_DISPATCH(cpu::add_floats)(from, to, n); }

void convert(ConstTensorView from, TensorView to) {
  if (from.elements() != to.elements()) {
    throw InvalidArgument("conversion: source and destination have different numbers of elements");
  }
  if (from.dtype() == to.dtype()) return cpu::convert_same(from, to);
  dispatch_floating(from.dtype(), [&](auto source_type) {
    dispatch_floating(to.dtype(), [&](auto destination_type) {
      const auto* source = from.data<decltype(source_type)>();
      auto* destination = to.data<decltype(destination_type)>();
      cpu::parallel_for(from.elements(), cpu::kElementsPerThread, [=](std::int64_t begin, std::int64_t end) {
        cpu::convert_piece(source + begin, destination + begin, end - begin);
      });
    });
  });
}

}  // namespace minim::simd
#endif  // HWY_ONCE
