#include "cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/row_loops.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>

#include "cpu/lanes-inl.h"
#include "cpu/row_loops.h"

HWY_BEFORE_NAMESPACE();
namespace minim::cpu::HWY_NAMESPACE {
namespace {

/// Vectors whose sums are taken before they are added to those of all.
constexpr std::int64_t kSumVectors = 32;

/// Sums over a row of what `term(lanes, c, sums)` adds to its kCount sums. Terms of lanes beyond the row are 0.
template <int kCount, class Term>
HWY_API void sum_row(std::int64_t channels, float (&totals)[kCount], const Term& term) {
  VFloats sums[kCount];
  for (VFloats& sum : sums) sum = hn::Zero(kFloats);
  for (std::int64_t begin = 0; begin < channels; begin += kSumVectors * kLanes) {
    VFloats of_block[kCount];
    for (VFloats& sum : of_block) sum = hn::Zero(kFloats);
    for_lanes(begin, std::min(begin + kSumVectors * kLanes, channels),
              [&](auto lanes, std::int64_t c) { term(lanes, c, of_block); });
    for (int k = 0; k < kCount; ++k) sums[k] = hn::Add(sums[k], of_block[k]);
  }
  for (int k = 0; k < kCount; ++k) totals[k] = hn::GetLane(hn::SumOfLanes(kFloats, sums[k]));
}

/// `v`, or 0 in lanes beyond the row.
HWY_API VFloats inside(AllLanes /*lanes*/, VFloats v) { return v; }
HWY_API VFloats inside(FirstLanes lanes, VFloats v) {
  return hn::IfThenElseZero(hn::FirstN(kFloats, static_cast<std::size_t>(lanes.count)), v);
}

/// In two passes, so that a mean far from 0 does not cancel the variance.
template <class T>
RowMoments typed_moments(const T* x, std::int64_t channels) {
  const auto count = static_cast<float>(channels);
  float sum[1], squares[1];
  sum_row(channels, sum, [=](auto lanes, std::int64_t c, VFloats* sums) { sums[0] = hn::Add(sums[0], load(lanes, x + c)); });
  const VFloats mean = hn::Set(kFloats, sum[0] / count);
  sum_row(channels, squares, [=](auto lanes, std::int64_t c, VFloats* sums) {
    const VFloats deviation = inside(lanes, hn::Sub(load(lanes, x + c), mean));
    sums[0] = hn::MulAdd(deviation, deviation, sums[0]);
  });
  return {sum[0] / count, squares[0] / count};
}

/// (x - mean) * rstd.
struct Normalize {
  explicit HWY_INLINE Normalize(const NormRow& row) : mean(hn::Set(kFloats, row.mean)), rstd(hn::Set(kFloats, row.rstd)) {}
  HWY_INLINE VFloats operator()(VFloats x) const { return hn::Mul(hn::Sub(x, mean), rstd); }

  VFloats mean, rstd;
};

template <class T>
void typed_normalize(const NormRow& row, const T* x, const float* gamma, const float* beta, T* y) {
  const Normalize normalize(row);
  for_lanes(0, row.channels, [=](auto lanes, std::int64_t c) {
    store(lanes, hn::MulAdd(normalize(load(lanes, x + c)), load(lanes, gamma + c), load(lanes, beta + c)), y + c);
  });
}

template <class T>
void typed_gradient(const NormRow& row, const T* x, const float* gamma, const T* dy, T* dx) {
  const Normalize normalize(row);
  float sums[2];  // of g, and of g n
  sum_row(row.channels, sums, [=](auto lanes, std::int64_t c, VFloats* of_row) {
    const VFloats g = hn::Mul(load(lanes, dy + c), load(lanes, gamma + c));
    of_row[0] = hn::Add(of_row[0], g);
    of_row[1] = hn::MulAdd(g, normalize(load(lanes, x + c)), of_row[1]);
  });
  const auto count = static_cast<float>(row.channels);
  const VFloats mean_g = hn::Set(kFloats, sums[0] / count), mean_product = hn::Set(kFloats, sums[1] / count);
  for_lanes(0, row.channels, [=](auto lanes, std::int64_t c) {
    const VFloats g = hn::Mul(load(lanes, dy + c), load(lanes, gamma + c));
    const VFloats centred = hn::NegMulAdd(normalize(load(lanes, x + c)), mean_product, hn::Sub(g, mean_g));
    store(lanes, hn::Mul(centred, normalize.rstd), dx + c);
  });
}

template <class T>
void typed_products(const NormRow& row, const T* x, const T* dy, float* sums, float* products) {
  const Normalize normalize(row);
  for_lanes(0, row.channels, [=](auto lanes, std::int64_t c) {
    const VFloats g = load(lanes, dy + c);
    store(lanes, hn::Add(load(lanes, sums + c), g), sums + c);
    store(lanes, hn::MulAdd(g, normalize(load(lanes, x + c)), load(lanes, products + c)), products + c);
  });
}

template <class T>
const T* typed(const void* data) {
  return static_cast<const T*>(data);
}
template <class T>
T* typed(void* data) {
  return static_cast<T*>(data);
}

RowMoments moments(const NormRow& row) {
  return dispatch_floating(row.dtype, [&](auto t) { return typed_moments(typed<decltype(t)>(row.x), row.channels); });
}

void normalize(const NormRow& row, const float* gamma, const float* beta, void* y) {
  dispatch_floating(row.dtype, [&](auto t) {
    using T = decltype(t);
    typed_normalize(row, typed<T>(row.x), gamma, beta, typed<T>(y));
  });
}

void gradient(const NormRow& row, const float* gamma, const void* dy, void* dx) {
  dispatch_floating(row.dtype, [&](auto t) {
    using T = decltype(t);
    typed_gradient(row, typed<T>(row.x), gamma, typed<T>(dy), typed<T>(dx));
  });
}

void add_products(const NormRow& row, const void* dy, float* sums, float* products) {
  dispatch_floating(row.dtype, [&](auto t) {
    using T = decltype(t);
    typed_products(row, typed<T>(row.x), typed<T>(dy), sums, products);
  });
}

}  // namespace
}  // namespace minim::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace minim::cpu {

HWY_EXPORT(moments);
HWY_EXPORT(normalize);
HWY_EXPORT(gradient);
HWY_EXPORT(add_products);

RowMoments row_moments(const NormRow& row) { return HWY_DYNAMIC_DISPATCH(moments)(row); }

void normalize_row(const NormRow& row, const float* gamma, const float* beta, void* y) {
  HWY_DYNAMIC_DISPATCH(normalize)(row, gamma, beta, y);
}

void normalize_row_gradient(const NormRow& row, const float* gamma, const void* dy, void* dx) {
  HWY_DYNAMIC_DISPATCH(gradient)(row, gamma, dy, dx);
}

void add_row_products(const NormRow& row, const void* dy, float* sums, float* products) {
  HWY_DYNAMIC_DISPATCH(add_products)(row, dy, sums, products);
}

}  // namespace minim::cpu
#endif  // HWY_ONCE
