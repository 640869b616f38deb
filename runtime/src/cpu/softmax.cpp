#include "cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/softmax.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu/exponential-inl.h"
#include "cpu/lanes-inl.h"
#include "cpu/softmax.h"

HWY_BEFORE_NAMESPACE();
namespace minim::cpu::HWY_NAMESPACE {
namespace {

/// Vectors whose sum is taken before it is added to the sum of all.
constexpr std::int64_t kSumVectors = 32;

template <class T>
HWY_API VFloats load_or(AllLanes /*lanes*/, const T* p, VFloats /*fill*/) {
  return load(p);
}
template <class T>
HWY_API VFloats load_or(FirstLanes lanes, const T* p, VFloats fill) {
  return hn::IfThenElse(hn::FirstN(kFloats, static_cast<std::size_t>(lanes.count)), load(lanes, p), fill);
}

/// May pass over NaN.
template <class T>
float largest(const T* logits, std::int64_t classes) {
  const VFloats lowest = hn::Set(kFloats, -std::numeric_limits<float>::infinity());
  VFloats result = lowest;
  for_lanes(0, classes, [&](auto lanes, std::int64_t k) { result = hn::Max(result, load_or(lanes, logits + k, lowest)); });
  return hn::GetLane(hn::MaxOfLanes(kFloats, result));
}

struct Sums {
  float exponentials = 0;
  float logits = 0;
};

/// Sums of e^(x - shift) and x - shift over all classes.
template <class T>
Sums sums_from(const T* logits, std::int64_t classes, float shift) {
  const VFloats vshift = hn::Set(kFloats, shift);
  const VFloats lowest = hn::Set(kFloats, -std::numeric_limits<float>::infinity());
  VFloats exponentials = hn::Zero(kFloats);
  VFloats offsets = hn::Zero(kFloats);
  for (std::int64_t begin = 0; begin < classes; begin += kSumVectors * kLanes) {
    VFloats block_exponentials = hn::Zero(kFloats);
    VFloats block_offsets = hn::Zero(kFloats);
    for_lanes(begin, std::min(begin + kSumVectors * kLanes, classes), [&](auto lanes, std::int64_t k) {
      block_exponentials = hn::Add(block_exponentials, exponential(hn::Sub(load_or(lanes, logits + k, lowest), vshift)));
      block_offsets = hn::Add(block_offsets, hn::Sub(load_or(lanes, logits + k, vshift), vshift));
    });
    exponentials = hn::Add(exponentials, block_exponentials);
    offsets = hn::Add(offsets, block_offsets);
  }
  return {hn::GetLane(hn::SumOfLanes(kFloats, exponentials)), hn::GetLane(hn::SumOfLanes(kFloats, offsets))};
}

template <class T>
SoftmaxLoss typed_loss(const T* logits, const SoftmaxRow& row) {
  const float shift = largest(logits, row.classes);
  const Sums sums = sums_from(logits, row.classes, shift);
  const double log_sum = std::log(double{sums.exponentials});
  const float chosen = to_float(logits[row.label]);
  double loss = log_sum - (1 - row.label_smoothing) * (double{chosen} - shift);
  if (row.label_smoothing > 0) loss -= row.label_smoothing / static_cast<double>(row.classes) * sums.logits;
  const auto is_largest = [=](T logit) { return to_float(logit) == shift; };
  const bool correct =
      !std::isnan(log_sum) && is_largest(logits[row.label]) && std::none_of(logits, logits + row.label, is_largest);
  return {.loss = loss, .log_sum_exp = static_cast<float>(shift + log_sum), .correct = correct};
}

template <class T>
void typed_gradient(const T* logits, T* dlogits, const SoftmaxRow& row, float log_sum_exp, float factor) {
  const double share = row.label_smoothing / static_cast<double>(row.classes);
  const VFloats target = hn::Set(kFloats, static_cast<float>(share));
  const VFloats label_target = hn::Set(kFloats, static_cast<float>(1 - row.label_smoothing + share));
  const VWords label = hn::Set(kWords, static_cast<std::uint32_t>(row.label));
  const VFloats shift = hn::Set(kFloats, log_sum_exp);
  const VFloats vfactor = hn::Set(kFloats, factor);
  for_lanes(0, row.classes, [=](auto lanes, std::int64_t k) {
    const auto is_label = hn::RebindMask(kFloats, hn::Eq(hn::Iota(kWords, static_cast<std::uint32_t>(k)), label));
    const VFloats softmax = exponential(hn::Sub(load(lanes, logits + k), shift));
    const VFloats error = hn::Sub(softmax, hn::IfThenElse(is_label, label_target, target));
    store(lanes, hn::Mul(error, vfactor), dlogits + k);
  });
}

SoftmaxLoss loss_of_row(const SoftmaxRow& row) {
  return dispatch_floating(row.dtype, [&](auto t) { return typed_loss(static_cast<const decltype(t)*>(row.logits), row); });
}

void gradient_of_row(const SoftmaxRow& row, float log_sum_exp, float factor, void* dlogits) {
  dispatch_floating(row.dtype, [&](auto t) {
    using T = decltype(t);
    typed_gradient(static_cast<const T*>(row.logits), static_cast<T*>(dlogits), row, log_sum_exp, factor);
  });
}

}  // namespace
}  // namespace minim::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace minim::cpu {

HWY_EXPORT(loss_of_row);
HWY_EXPORT(gradient_of_row);

SoftmaxLoss softmax_loss(const SoftmaxRow& row) { return HWY_DYNAMIC_DISPATCH(loss_of_row)(row); }

void softmax_gradient(const SoftmaxRow& row, float log_sum_exp, float factor, void* dlogits) {
  HWY_DYNAMIC_DISPATCH(gradient_of_row)(row, log_sum_exp, factor, dlogits);
}

}  // namespace minim::cpu
#endif  // HWY_ONCE
