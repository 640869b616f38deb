#include "cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/relu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "cpu/relu.h"

HWY_BEFORE_NAMESPACE();
namespace minim::cpu::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// ReLU looks at sign and NaN only, so it needs no conversion: it works on bits as signed integers, 32 halves in a vector.

template <class T>
struct Format;
template <>
struct Format<float> {
  using Storage = float;
  using Integer = std::int32_t;
  static constexpr Integer infinity = 0x7F800000;
};
template <>
struct Format<Half> {
  using Storage = std::uint16_t;
  using Integer = std::int16_t;
  static constexpr Integer infinity = 0x7C00;
};
template <>
struct Format<BFloat16> {
  using Storage = std::uint16_t;
  using Integer = std::int16_t;
  static constexpr Integer infinity = 0x7F80;
};

/// x where it is positive, zero or NaN, else 0.
template <class T, class D, class V>
HWY_API V rectify(D d, V x) {
  const V infinity = hn::Set(d, Format<T>::infinity);
  const V magnitude = hn::And(x, hn::Set(d, hwy::LimitsMax<typename Format<T>::Integer>()));
  const auto negative = hn::And(hn::Lt(x, hn::Zero(d)), hn::Not(hn::Gt(magnitude, infinity)));
  return hn::IfThenZeroElse(negative, x);
}

/// dy where y is positive (and no NaN), else 0.
template <class T, class D, class V>
HWY_API V pass_positive(D d, V y, V dy) {
  const auto positive = hn::And(hn::Gt(y, hn::Zero(d)), hn::Not(hn::Gt(y, hn::Set(d, Format<T>::infinity))));
  return hn::IfThenElseZero(positive, dy);
}

template <class D, class Storage>
HWY_API hn::Vec<D> load_bits(D d, const Storage* p) {
  return hn::BitCast(d, hn::LoadU(hn::Rebind<Storage, D>(), p));
}
template <class D, class Storage>
HWY_API void store_bits(D /*d*/, hn::Vec<D> bits, Storage* p) {
  const hn::Rebind<Storage, D> storage;
  hn::StoreU(hn::BitCast(storage, bits), storage, p);
}

/// Calls `step(d, i)` for whole vectors with d's lanes, then for single elements.
template <class Bits, class Step>
HWY_API void for_bits(std::int64_t n, const Step& step) {
  const hn::ScalableTag<Bits> all;
  constexpr std::int64_t kCount = HWY_LANES(Bits);
  std::int64_t i = 0;
  for (; i + kCount <= n; i += kCount) step(all, i);
  for (; i < n; ++i) step(hn::CappedTag<Bits, 1>(), i);
}

template <class T>
void typed_forward(const void* x, void* y, std::int64_t n) {
  using Storage = typename Format<T>::Storage;
  const auto* from = static_cast<const Storage*>(x);
  auto* to = static_cast<Storage*>(y);
  for_bits<typename Format<T>::Integer>(
      n, [=](auto d, std::int64_t i) { store_bits(d, rectify<T>(d, load_bits(d, from + i)), to + i); });
}

template <class T>
void typed_backward(const void* y, const void* dy, void* dx, std::int64_t n) {
  using Storage = typename Format<T>::Storage;
  const auto* output = static_cast<const Storage*>(y);
  const auto* from = static_cast<const Storage*>(dy);
  auto* to = static_cast<Storage*>(dx);
  for_bits<typename Format<T>::Integer>(n, [=](auto d, std::int64_t i) {
    store_bits(d, pass_positive<T>(d, load_bits(d, output + i), load_bits(d, from + i)), to + i);
  });
}

void forward(DType dtype, const void* x, void* y, std::int64_t n) {
  dispatch_floating(dtype, [=](auto t) { typed_forward<decltype(t)>(x, y, n); });
}

void backward(DType dtype, const void* y, const void* dy, void* dx, std::int64_t n) {
  dispatch_floating(dtype, [=](auto t) { typed_backward<decltype(t)>(y, dy, dx, n); });
}

}  // namespace
}  // namespace minim::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace minim::cpu {

HWY_EXPORT(forward);
HWY_EXPORT(backward);

void relu_forward(DType dtype, const void* x, void* y, std::int64_t n) { HWY_DYNAMIC_DISPATCH(forward)(dtype, x, y, n); }

void relu_backward(DType dtype, const void* y, const void* dy, void* dx, std::int64_t n) {
  HWY_DYNAMIC_DISPATCH(backward)(dtype, y, dy, dx, n);
}

}  // namespace minim::cpu
#endif  // HWY_ONCE
