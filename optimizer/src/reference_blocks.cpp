#include <cmath>
#include <type_traits>

#include "update_blocks.h"

namespace minim {

namespace {

using Lane = float;
float splat(float value) { return value; }
float square_root(float x) { return std::sqrt(x); }
#include "update_arithmetic-inl.h"

template <class Arithmetic, class G, class W>
bool update_typed(const ApplyUpdate& args, const UpdateConstants& constants, std::int64_t begin, std::int64_t end) {
  const Arithmetic arithmetic(constants);
  const auto* gradient = args.gradient.data<G>();
  auto* weight = args.weight.data<W>();
  auto* master = args.master.present() ? args.master.data<float>() : nullptr;
  [[maybe_unused]] auto* moment1 = Arithmetic::kMoments > 0 ? args.moment1.data<float>() : nullptr;
  [[maybe_unused]] auto* moment2 = Arithmetic::kMoments > 1 ? args.moment2.data<float>() : nullptr;
  bool finite = true;
  for (std::int64_t i = begin; i < end; ++i) {
    const float g = to_float(gradient[i]);
    float w = master != nullptr ? master[i] : to_float(weight[i]);
    if constexpr (Arithmetic::kMoments == 0) w = arithmetic(g, w);
    if constexpr (Arithmetic::kMoments == 1) w = arithmetic(g, w, moment1[i]);
    if constexpr (Arithmetic::kMoments == 2) w = arithmetic(g, w, moment1[i], moment2[i]);
    finite = finite && std::abs(w) < overflow_limit(kDType<W>);
    if (master != nullptr) master[i] = w;
    weight[i] = round_to<W>(w);
  }
  return finite;
}

template <class Arithmetic>
bool update_with(const ApplyUpdate& args, const UpdateConstants& constants, std::int64_t begin, std::int64_t end) {
  return dispatch_floating(args.weight.dtype(), [&](auto type) {
    using W = decltype(type);
    if (args.gradient.dtype() == DType::fp32) return update_typed<Arithmetic, float, W>(args, constants, begin, end);
    return update_typed<Arithmetic, W, W>(args, constants, begin, end);
  });
}

bool update_block(const ApplyUpdate& args, const UpdateConstants& constants, WeightStore /*how*/, std::int64_t begin,
                  std::int64_t end) {
  return dispatch_arithmetic(numbers_of(args.rule).form, [&](auto arithmetic) {
    return update_with<typename decltype(arithmetic)::type>(args, constants, begin, end);
  });
}

template <class G>
double sum_squares_typed(const G* gradient, std::int64_t begin, std::int64_t end) {
  double lanes[kSumLanes] = {};
  for (std::int64_t i = begin; i < end; ++i) {
    const double g = to_float(gradient[i]);
    lanes[(i - begin) % kSumLanes] += g * g;
  }
  return add_lanes(lanes);
}

double sum_squares_block(ConstTensorView gradient, std::int64_t begin, std::int64_t end) {
  return dispatch_floating(gradient.dtype(),
                           [&](auto type) { return sum_squares_typed(gradient.data<decltype(type)>(), begin, end); });
}

template <class Arithmetic, class G, class W>
ParameterSquares measure_typed(const MeasureUpdate& args, const UpdateConstants& constants, std::int64_t begin,
                               std::int64_t end) {
  const Arithmetic arithmetic(constants);
  double weights[kSumLanes] = {}, updates[kSumLanes] = {};
  for (std::int64_t i = begin; i < end; ++i) {
    const float g = to_float(args.gradient.data<G>()[i]);
    const float w = args.master.present() ? args.master.data<float>()[i] : to_float(args.weight.data<W>()[i]);
    float u;
    if constexpr (Arithmetic::kMeasuresMoments) {
      u = arithmetic.measured(g, w, args.moment1.data<float>()[i], args.moment2.data<float>()[i]);
    } else {
      u = arithmetic.measured(g, w);
    }
    weights[(i - begin) % kSumLanes] += static_cast<double>(w) * static_cast<double>(w);
    updates[(i - begin) % kSumLanes] += static_cast<double>(u) * static_cast<double>(u);
  }
  return {.weight = add_lanes(weights), .update = add_lanes(updates)};
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

}  // namespace

BlockFunctions reference_blocks() { return {.update = update_block, .sum_squares = sum_squares_block, .measure = measure_block}; }

}  // namespace minim
