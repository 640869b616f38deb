// Vectors of floats over fp32, fp16 and bf16 storage, for the instruction set that Highway currently compiles for.
#if defined(MINIM_CPU_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MINIM_CPU_LANES_INL_H_
#undef MINIM_CPU_LANES_INL_H_
#else
#define MINIM_CPU_LANES_INL_H_
#endif

#include <cstdint>
#include <cstring>

#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "minim/runtime/half.h"

HWY_BEFORE_NAMESPACE();
namespace minim::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using Words = hn::RebindToUnsigned<Floats>;           // 32-bit lanes
using HalfWords = hn::Rebind<std::uint16_t, Floats>;  // as many 16-bit lanes
using VFloats = hn::Vec<Floats>;
using VWords = hn::Vec<Words>;
using VHalfWords = hn::Vec<HalfWords>;
inline constexpr Floats kFloats{};
inline constexpr Words kWords{};
inline constexpr HalfWords kHalfWords{};

inline constexpr std::int64_t kLanes = HWY_LANES(float);

/// Makes the compiler forget where `v` came from. GCC otherwise folds a mask that is applied to a converted FP16 load into the
/// load itself, which runs at a third of the speed.
HWY_API VFloats opaque(VFloats v) {
#if HWY_TARGET == HWY_AVX3
  asm("" : "+v"(v.raw));
#endif
  return v;
}

/// Fetches what lies `distance_bytes` behind `p`, in the array or beyond: the address is made as an integer, since a pointer
/// there would be undefined.
template <class T>
HWY_API void prefetch(const T* p, std::uintptr_t distance_bytes) {
  hwy::Prefetch(reinterpret_cast<const T*>(reinterpret_cast<std::uintptr_t>(p) + distance_bytes));
}

// Conversion of registers. F16C rounds and keeps NaN payloads exactly as half.h does; Highway's own emulation where F16C is
// missing truncates and does not know infinity, and the bf16 instruction of AVX-512 flushes subnormals: both are done here.

HWY_API VFloats half_to_floats(VHalfWords h) {
#if HWY_TARGET == HWY_SCALAR
  const VWords bits = hn::PromoteTo(kWords, h);
  const VWords magnitude = hn::ShiftLeft<13>(hn::And(bits, hn::Set(kWords, 0x7FFFU)));
  // The exponent's bias differs by 112; the product is exact for subnormals too.
  const VWords finite = hn::BitCast(kWords, hn::Mul(hn::BitCast(kFloats, magnitude), hn::Set(kFloats, 0x1p112F)));
  const VWords infinite = hn::Or(magnitude, hn::Set(kWords, 0x7F800000U));
  const VWords infinity = hn::Set(kWords, 0x0F800000U);
  const VWords quiet = hn::IfThenElseZero(hn::Gt(magnitude, infinity), hn::Set(kWords, 0x400000U));
  const VWords value = hn::IfThenElse(hn::Ge(magnitude, infinity), hn::Or(infinite, quiet), finite);
  return hn::BitCast(kFloats, hn::Or(value, hn::ShiftLeft<16>(hn::And(bits, hn::Set(kWords, 0x8000U)))));
#else
  return hn::PromoteTo(kFloats, hn::BitCast(hn::Rebind<hwy::float16_t, Floats>(), h));
#endif
}

HWY_API VHalfWords floats_to_half(VFloats v) {
#if HWY_TARGET == HWY_SCALAR
  const VWords bits = hn::BitCast(kWords, v);
  const VWords magnitude = hn::And(bits, hn::Set(kWords, 0x7FFFFFFFU));
  const VWords odd = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(kWords, 1U));
  const VWords normal =
      hn::ShiftRight<13>(hn::Sub(hn::Add(hn::Add(magnitude, hn::Set(kWords, 0xFFFU)), odd), hn::Set(kWords, 0x38000000U)));
  const VFloats shifted = hn::Add(hn::BitCast(kFloats, magnitude), hn::Set(kFloats, 0.5F));
  const VWords subnormal = hn::Sub(hn::BitCast(kWords, shifted), hn::Set(kWords, 0x3F000000U));
  const VWords payload = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(kWords, 0x3FFU));
  VWords result = hn::IfThenElse(hn::Lt(magnitude, hn::Set(kWords, 0x38800000U)), subnormal, normal);
  result = hn::IfThenElse(hn::Ge(magnitude, hn::Set(kWords, 0x477FF000U)), hn::Set(kWords, 0x7C00U), result);
  result = hn::IfThenElse(hn::Gt(magnitude, hn::Set(kWords, 0x7F800000U)), hn::Or(payload, hn::Set(kWords, 0x7E00U)), result);
  result = hn::Or(result, hn::And(hn::ShiftRight<16>(bits), hn::Set(kWords, 0x8000U)));
  return hn::TruncateTo(kHalfWords, result);
#else
  return hn::BitCast(kHalfWords, hn::DemoteTo(hn::Rebind<hwy::float16_t, Floats>(), v));
#endif
}

HWY_API VFloats bfloat16_to_floats(VHalfWords b) { return hn::BitCast(kFloats, hn::ShiftLeft<16>(hn::PromoteTo(kWords, b))); }

HWY_API VHalfWords floats_to_bfloat16(VFloats v) {
  const VWords bits = hn::BitCast(kWords, v);
  const VWords odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(kWords, 1U));
  const VWords rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(kWords, 0x7FFFU))));
  const VWords nan = hn::Or(hn::ShiftRight<16>(bits), hn::Set(kWords, 0x40U));
  const VWords result =
      hn::IfThenElse(hn::MaskFromVec(hn::BitCast(kWords, hn::VecFromMask(kFloats, hn::IsNaN(v)))), nan, rounded);
  // At most 16 bits are set, so the saturating narrowing, the one that x86 has, is exact.
  return hn::DemoteTo(kHalfWords, hn::BitCast(hn::RebindToSigned<Words>(), result));
}

// Loads and stores of kLanes elements.

HWY_API VFloats load(const float* p) { return hn::LoadU(kFloats, p); }
HWY_API VFloats load(const Half* p) { return half_to_floats(hn::LoadU(kHalfWords, &p->bits)); }
HWY_API VFloats load(const BFloat16* p) { return bfloat16_to_floats(hn::LoadU(kHalfWords, &p->bits)); }

/// Registers as they are stored: for values that go to several places, rounded once.
HWY_API VFloats stored_as(float /*type*/, VFloats v) { return v; }
HWY_API VHalfWords stored_as(Half /*type*/, VFloats v) { return floats_to_half(v); }
HWY_API VHalfWords stored_as(BFloat16 /*type*/, VFloats v) { return floats_to_bfloat16(v); }

HWY_API void store_bits(VFloats v, float* p) { hn::StoreU(v, kFloats, p); }
HWY_API void store_bits(VHalfWords v, Half* p) { hn::StoreU(v, kHalfWords, &p->bits); }
HWY_API void store_bits(VHalfWords v, BFloat16* p) { hn::StoreU(v, kHalfWords, &p->bits); }

template <class T>
HWY_API void store(VFloats v, T* p) {
  store_bits(stored_as(T{}, v), p);
}

/// How many elements a step of a loop covers: all lanes, known to the compiler, or the `count` < kLanes that are left.
struct AllLanes {
  static constexpr std::int64_t count = kLanes;
};
struct FirstLanes {
  std::int64_t count;
};

template <class T>
HWY_API VFloats load(AllLanes /*lanes*/, const T* p) {
  return load(p);
}
template <class T>
HWY_API void store(AllLanes /*lanes*/, VFloats v, T* p) {
  store(v, p);
}
/// The lanes beyond are 0.
template <class T>
HWY_API VFloats load(FirstLanes lanes, const T* p) {
  T buffer[kLanes] = {};
  std::memcpy(buffer, p, static_cast<std::size_t>(lanes.count) * sizeof(T));
  return load(buffer);
}
template <class T>
HWY_API void store(FirstLanes lanes, VFloats v, T* p) {
  T buffer[kLanes];
  store(v, buffer);
  std::memcpy(p, buffer, static_cast<std::size_t>(lanes.count) * sizeof(T));
}

/// Calls `step(lanes, i)` for consecutive pieces of [begin, end), the last with FirstLanes where they are not all.
template <class Step>
HWY_API void for_lanes(std::int64_t begin, std::int64_t end, const Step& step) {
  std::int64_t i = begin;
  for (; i + kLanes <= end; i += kLanes) step(AllLanes{}, i);
  if (i < end) step(FirstLanes{end - i}, i);
}

}  // namespace minim::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
