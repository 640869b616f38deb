#include "cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/nonlinearity_loops.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cmath>
#include <numbers>

#include "cpu/exponential-inl.h"
#include "cpu/lanes-inl.h"
#include "cpu/nonlinearity_loops.h"

HWY_BEFORE_NAMESPACE();
namespace minim::cpu::HWY_NAMESPACE {
namespace {

// Each function in FP32, and what its derivative makes of dy.

HWY_API VFloats set(double value) { return hn::Set(kFloats, static_cast<float>(value)); }

struct LeakyRelu {
  HWY_INLINE VFloats operator()(VFloats x) const { return hn::IfThenElse(hn::Gt(x, hn::Zero(kFloats)), x, hn::Mul(x, slope)); }
  HWY_INLINE VFloats gradient(VFloats y, VFloats dy) const {
    return hn::IfThenElse(hn::Gt(y, hn::Zero(kFloats)), dy, hn::Mul(dy, slope));
  }

  VFloats slope;
};

struct Sigmoid {
  /// With e^-|x|, which does not overflow, and keeps small results exact.
  HWY_INLINE VFloats operator()(VFloats x) const {
    const VFloats power = exponential(hn::Neg(hn::Abs(x)));
    const VFloats above = hn::IfThenElse(hn::Lt(x, hn::Zero(kFloats)), power, set(1));
    return hn::Div(above, hn::Add(set(1), power));
  }
  HWY_INLINE VFloats gradient(VFloats y, VFloats dy) const { return hn::Mul(dy, hn::Mul(y, hn::Sub(set(1), y))); }
};

struct Tanh {
  HWY_INLINE VFloats operator()(VFloats x) const { return hn::Tanh(kFloats, x); }
  HWY_INLINE VFloats gradient(VFloats y, VFloats dy) const {
    return hn::Mul(dy, hn::Mul(hn::Sub(set(1), y), hn::Add(set(1), y)));
  }
};

struct Gelu {
  HWY_INLINE VFloats operator()(VFloats x) const {
    const VFloats bounded = in_range(x);
    return hn::Mul(hn::IfThenElse(hn::Lt(x, bounded), bounded, x), distribution(bounded, density(bounded)));
  }
  HWY_INLINE VFloats gradient(VFloats x, VFloats dy) const {
    const VFloats bounded = in_range(x);
    const VFloats power = density(bounded);
    const VFloats by_x = hn::Mul(hn::Mul(bounded, set(1 / std::sqrt(2 * std::numbers::pi))), power);
    return hn::Mul(dy, hn::Add(distribution(bounded, power), by_x));
  }

 private:
  /// Beyond, the function is 0 or x; infinity times 0 would be NaN. NaN stays.
  HWY_INLINE static VFloats in_range(VFloats x) {
    return hn::IfThenElse(hn::IsNaN(x), x, hn::Min(hn::Max(x, set(-40)), set(40)));
  }
  /// e^(-x^2 / 2)
  HWY_INLINE static VFloats density(VFloats x) { return exponential(hn::Mul(set(-0.5), hn::Mul(x, x))); }
  /// Phi(x), with its relative precision where it is small, as it would not have from 1 + erf.
  /// Phi(-|x|) = e^(-x^2 / 2) t P(t) with t = 1 / (1 + 0.2734375 |x|) and a polynomial fitted for the least relative error,
  /// 1.2 * 2^-24; 6.5 * 2^-24 as it is evaluated.
  HWY_INLINE static VFloats distribution(VFloats x, VFloats density) {
    constexpr float kCoefficients[] = {0x1.bed2f8p-4F,  0x1.be8676p-4F, 0x1.a1547ep-4F,  0x1.3e2c3p-4F, 0x1.77d40cp-4F,
                                       -0x1.56263cp-5F, 0x1.1c2012p-3F, -0x1.d1b9d6p-4F, 0x1.bf7a86p-6F};
    const VFloats t = hn::Div(set(1), hn::MulAdd(hn::Abs(x), set(0.2734375), set(1)));
    VFloats polynomial = set(kCoefficients[8]);
    for (int i = 7; i >= 0; --i) polynomial = hn::MulAdd(polynomial, t, set(kCoefficients[i]));
    const VFloats tail = hn::Mul(density, hn::Mul(t, polynomial));
    return hn::IfThenElse(hn::Lt(x, hn::Zero(kFloats)), tail, hn::Sub(set(1), tail));
  }
};

/// Calls `f(T{}, function)`.
template <class F>
void dispatch(const Nonlinearity& function, DType dtype, const F& f) {
  using Kind = Nonlinearity::Kind;
  dispatch_floating(dtype, [&](auto t) {
    switch (function.kind) {
      case Kind::leaky_relu: return f(t, LeakyRelu{set(function.slope)});
      case Kind::sigmoid: return f(t, Sigmoid{});
      case Kind::tanh: return f(t, Tanh{});
      case Kind::gelu: return f(t, Gelu{});
    }
  });
}

void forward(const Nonlinearity& kind, DType dtype, const void* x, void* y, std::int64_t n) {
  dispatch(kind, dtype, [=](auto t, const auto& function) {
    using T = decltype(t);
    const auto* const from = static_cast<const T*>(x);
    auto* const to = static_cast<T*>(y);
    for_lanes(0, n, [&](auto lanes, std::int64_t i) { store(lanes, function(load(lanes, from + i)), to + i); });
  });
}

void backward(const Nonlinearity& kind, DType dtype, const void* value, const void* dy, void* dx, std::int64_t n) {
  dispatch(kind, dtype, [=](auto t, const auto& function) {
    using T = decltype(t);
    const auto* const of_forward = static_cast<const T*>(value);
    const auto* const from = static_cast<const T*>(dy);
    auto* const to = static_cast<T*>(dx);
    for_lanes(0, n, [&](auto lanes, std::int64_t i) {
      store(lanes, function.gradient(load(lanes, of_forward + i), load(lanes, from + i)), to + i);
    });
  });
}

}  // namespace
}  // namespace minim::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace minim::cpu {

HWY_EXPORT(forward);
HWY_EXPORT(backward);

void nonlinearity(const Nonlinearity& function, DType dtype, const void* x, void* y, std::int64_t n) {
  HWY_DYNAMIC_DISPATCH(forward)(function, dtype, x, y, n);
}

void nonlinearity_gradient(const Nonlinearity& function, DType dtype, const void* value, const void* dy, void* dx,
                           std::int64_t n) {
  HWY_DYNAMIC_DISPATCH(backward)(function, dtype, value, dy, dx, n);
}

}  // namespace minim::cpu
#endif  // HWY_ONCE
