#include "update_blocks.h"

#include <algorithm>
#include <type_traits>

// The instruction sets and the lanes are those of the runtime's own kernels.
#include "cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "vector_blocks.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace minim::update::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using cpu::HWY_NAMESPACE::AllLanes;
using cpu::HWY_NAMESPACE::FirstLanes;
using cpu::HWY_NAMESPACE::for_lanes;
using cpu::HWY_NAMESPACE::kFloats;
using cpu::HWY_NAMESPACE::kHalfWords;
using cpu::HWY_NAMESPACE::kLanes;
using cpu::HWY_NAMESPACE::load;
using cpu::HWY_NAMESPACE::store;

using Lane = cpu::HWY_NAMESPACE::VFloats;
HWY_API Lane splat(float value) { return hn::Set(kFloats, value); }
HWY_API Lane square_root(Lane x) { return hn::Sqrt(x); }
#include "update_arithmetic-inl.h"

template <class Lanes, class W>
HWY_API void stream(Lanes lanes, Lane w, W* to) {
  store(lanes, w, to);
}
HWY_API void stream(AllLanes /*lanes*/, Lane w, Half* to) {
  hn::Stream(cpu::HWY_NAMESPACE::floats_to_half(w), kHalfWords, &to->bits);
}
HWY_API void stream(AllLanes /*lanes*/, Lane w, BFloat16* to) {
  hn::Stream(cpu::HWY_NAMESPACE::floats_to_bfloat16(w), kHalfWords, &to->bits);
}

/// One block with all types known: G of gradients, W of weights.
template <class Arithmetic, class G, class W, bool kMaster, WeightStore kStore>
bool update_typed(const ApplyUpdate& args, const UpdateConstants& constants, std::int64_t begin, std::int64_t end) {
  const Arithmetic arithmetic(constants);
  const auto* gradient = args.gradient.data<G>();
  auto* weight = args.weight.data<W>();
  [[maybe_unused]] auto* master = kMaster ? args.master.data<float>() : nullptr;
  [[maybe_unused]] auto* moment1 = Arithmetic::kMoments > 0 ? args.moment1.data<float>() : nullptr;
  [[maybe_unused]] auto* moment2 = Arithmetic::kMoments > 1 ? args.moment2.data<float>() : nullptr;
  const Lane limit = splat(overflow_limit(kDType<W>));
  auto finite = hn::Lt(hn::Zero(kFloats), limit);
  for_lanes(begin, end, [&](auto lanes, std::int64_t i) {
    const Lane g = load(lanes, gradient + i);
    Lane w;
    if constexpr (kMaster) w = load(lanes, master + i);
    if constexpr (!kMaster) w = load(lanes, weight + i);
    if constexpr (Arithmetic::kMoments == 0) w = arithmetic(g, w);
    if constexpr (Arithmetic::kMoments == 1) {
      Lane velocity = load(lanes, moment1 + i);
      w = arithmetic(g, w, velocity);
      store(lanes, velocity, moment1 + i);
    }
    if constexpr (Arithmetic::kMoments == 2) {
      Lane mean = load(lanes, moment1 + i);
      Lane square = load(lanes, moment2 + i);
      w = arithmetic(g, w, mean, square);
      store(lanes, mean, moment1 + i);
      store(lanes, square, moment2 + i);
    }
    finite = hn::And(finite, hn::Lt(hn::Abs(w), limit));
    if constexpr (kMaster) store(lanes, w, master + i);
    if constexpr (kStore == WeightStore::streamed) stream(lanes, w, weight + i);
    if constexpr (kStore == WeightStore::cached) store(lanes, w, weight + i);
  });
  if (kStore == WeightStore::streamed) hwy::FlushStream();
  return hn::AllTrue(kFloats, finite);
}

template <class Arithmetic, class G, class W>
bool update_stored(const ApplyUpdate& args, const UpdateConstants& constants, WeightStore how, std::int64_t begin,
                   std::int64_t end) {
  if constexpr (kDType<W> != DType::fp32) {
    if (args.master.present()) {
      return how == WeightStore::streamed
                 ? update_typed<Arithmetic, G, W, true, WeightStore::streamed>(args, constants, begin, end)
                 : update_typed<Arithmetic, G, W, true, WeightStore::cached>(args, constants, begin, end);
    }
  }
  return update_typed<Arithmetic, G, W, false, WeightStore::cached>(args, constants, begin, end);
}

/// Gradients are of the weights' type, or FP32 sums.
template <class Arithmetic>
bool update_with(const ApplyUpdate& args, const UpdateConstants& constants, WeightStore how, std::int64_t begin,
                 std::int64_t end) {
  return dispatch_floating(args.weight.dtype(), [&](auto type) {
    using W = decltype(type);
    if (args.gradient.dtype() == DType::fp32) return update_stored<Arithmetic, float, W>(args, constants, how, begin, end);
    return update_stored<Arithmetic, W, W>(args, constants, how, begin, end);
  });
}

bool update_block(const ApplyUpdate& args, const UpdateConstants& constants, WeightStore how, std::int64_t begin,
                  std::int64_t end) {
  return dispatch_arithmetic(numbers_of(args.rule).form, [&](auto arithmetic) {
    return update_with<typename decltype(arithmetic)::type>(args, constants, how, begin, end);
  });
}

// Sums of squares. FP64 products of floats are exact, so fused or not makes no difference.

using Doubles = hn::ScalableTag<double>;
using Narrow = hn::Rebind<float, Doubles>;
inline constexpr int kDoubles = HWY_LANES(double);
inline constexpr int kParts = kSumLanes / kDoubles;

HWY_API void add_squares(const float* x, hn::Vec<Doubles> (&sums)[kParts]) {
  for (int part = 0; part < kParts; ++part) {
    const auto wide = hn::PromoteTo(Doubles(), hn::LoadU(Narrow(), x + part * kDoubles));
    sums[part] = hn::MulAdd(wide, wide, sums[part]);
  }
}

double add_up(const hn::Vec<Doubles> (&sums)[kParts]) {
  HWY_ALIGN double lanes[kSumLanes];
  for (int part = 0; part < kParts; ++part) hn::Store(sums[part], Doubles(), lanes + part * kDoubles);
  return add_lanes(lanes);
}

template <class G>
double sum_squares_typed(const G* gradient, std::int64_t begin, std::int64_t end) {
  static_assert(kSumLanes % kLanes == 0);
  hn::Vec<Doubles> sums[kParts];
  for (auto& sum : sums) sum = hn::Zero(Doubles());
  std::int64_t i = begin;
  for (; i + kSumLanes <= end; i += kSumLanes) {
    HWY_ALIGN float x[kSumLanes];
    for (int k = 0; k < kSumLanes; k += kLanes) store(load(gradient + i + k), x + k);
    add_squares(x, sums);
  }
  if (i < end) {
    HWY_ALIGN float x[kSumLanes] = {};
    for (int k = 0; i + k < end; ++k) x[k] = to_float(gradient[i + k]);
    add_squares(x, sums);
  }
  return add_up(sums);
}

double sum_squares_block(ConstTensorView gradient, std::int64_t begin, std::int64_t end) {
  return dispatch_floating(gradient.dtype(),
                           [&](auto type) { return sum_squares_typed(gradient.data<decltype(type)>(), begin, end); });
}

template <class Arithmetic, class G, class W>
ParameterSquares measure_typed(const MeasureUpdate& args, const UpdateConstants& constants, std::int64_t begin,
                               std::int64_t end) {
  const Arithmetic arithmetic(constants);
  const auto* gradient = args.gradient.data<G>();
  const auto* weight = args.weight.data<W>();
  const auto* master = args.master.present() ? args.master.data<float>() : nullptr;
  [[maybe_unused]] const auto* moment1 = Arithmetic::kMeasuresMoments ? args.moment1.data<float>() : nullptr;
  [[maybe_unused]] const auto* moment2 = Arithmetic::kMeasuresMoments ? args.moment2.data<float>() : nullptr;
  hn::Vec<Doubles> weights[kParts], updates[kParts];
  for (int part = 0; part < kParts; ++part) weights[part] = updates[part] = hn::Zero(Doubles());
  for (std::int64_t first = begin; first < end; first += kSumLanes) {
    HWY_ALIGN float w[kSumLanes] = {}, u[kSumLanes] = {};
    for_lanes(first, std::min(first + kSumLanes, end), [&](auto lanes, std::int64_t i) {
      const Lane g = load(lanes, gradient + i);
      const Lane value = master != nullptr ? load(lanes, master + i) : load(lanes, weight + i);
      store(lanes, value, w + (i - first));
      if constexpr (Arithmetic::kMeasuresMoments) {
        store(lanes, arithmetic.measured(g, value, load(lanes, moment1 + i), load(lanes, moment2 + i)), u + (i - first));
      } else {
        store(lanes, arithmetic.measured(g, value), u + (i - first));
      }
    });
    add_squares(w, weights);
    add_squares(u, updates);
  }
  return {.weight = add_up(weights), .update = add_up(updates)};
}

ParameterSquares measure_block(const MeasureUpdate& args, const UpdateConstants& constants, std::int64_t begin,
                               std::int64_t end) {
  return dispatch_trust_arithmetic(numbers_of(args.rule).form, [&](auto arithmetic) {
    using Arithmetic = typename decltype(arithmetic)::type;
    return dispatch_floating(args.weight.dtype(), [&](auto type) {
      using W = decltype(type);
      if (args.gradient.dtype() == DType::fp32) return measure_typed<Arithmetic, float, W>(args, constants, begin, end);
      return measure_typed<Arithmetic, W, W>(args, constants, begin, end);
    });
  });
}

}  // namespace minim::update::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace minim {
namespace update {

HWY_EXPORT(update_block);
HWY_EXPORT(sum_squares_block);
HWY_EXPORT(measure_block);

bool run_update(const ApplyUpdate& args, const UpdateConstants& constants, WeightStore how, std::int64_t begin,
                std::int64_t end) {
  return HWY_DYNAMIC_DISPATCH(update_block)(args, constants, how, begin, end);
}

double run_sum_squares(ConstTensorView gradient, std::int64_t begin, std::int64_t end) {
  return HWY_DYNAMIC_DISPATCH(sum_squares_block)(gradient, begin, end);
}

ParameterSquares run_measure(const MeasureUpdate& args, const UpdateConstants& constants, std::int64_t begin, std::int64_t end) {
  return HWY_DYNAMIC_DISPATCH(measure_block)(args, constants, begin, end);
}

}  // namespace update

BlockFunctions vector_blocks() {
  return {.update = update::run_update, .sum_squares = update::run_sum_squares, .measure = update::run_measure};
}

}  // namespace minim
#endif
