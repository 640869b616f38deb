#pragma once

#include <algorithm>

#include "minim/runtime/kernels/nonlinearity.h"
#include "runtime/kernel_case.h"

/// What every set of kernels for nonlinearities does.
namespace minim::nonlinearity_suite {

using kernel_case::kUnit;
using kernel_case::value_at;

struct NamedFunction {
  const char* name;
  Nonlinearity function;
};
inline constexpr NamedFunction kFunctions[] = {
    {"leaky_relu", {.kind = Nonlinearity::Kind::leaky_relu, .slope = 0.2}},
    {"sigmoid", {.kind = Nonlinearity::Kind::sigmoid}},
    {"tanh", {.kind = Nonlinearity::Kind::tanh}},
    {"gelu", {.kind = Nonlinearity::Kind::gelu}},
};

/// Exponentials keep fewer bits where they are subnormal, and GELU multiplies one by up to 14 there.
inline constexpr double kSubnormal = 0x1p-144;

/// Where GELU is 0 or x, in every type.
inline double within_range(double x) { return std::clamp(x, -40.0, 40.0); }

/// Relative error of Phi(x), and of e^(-x^2 / 2), times what is left after the last multiplication. Highway's exponential is off
/// by 1 unit in the last place, of up to 2 kUnit, and that of x^2 by x^2 / 2 kUnit; the polynomial by 6.5 kUnit. CUDA's expf is
/// off by 2 units and erfcf by 4, and an argument that is rounded twice moves that by 2 (x^2 + 1) kUnit.
inline double gelu_error(double x) { return (12 + 2 * std::pow(within_range(x), 2)) * kUnit; }

/// Of the result for x, which is y.
inline double forward_error(const Nonlinearity& function, double x, double y) {
  switch (function.kind) {
    case Nonlinearity::Kind::leaky_relu:
      return 2 * kUnit * std::abs(y);  // slope and product
    // CUDA's expf is off by 2 units in the last place, a sum and a quotient follow, and the sum is of two equal parts at most.
    case Nonlinearity::Kind::sigmoid: return 8 * kUnit * std::abs(y) + kSubnormal;
    case Nonlinearity::Kind::tanh: return 8 * kUnit * std::abs(y) + kSubnormal;  // Highway's: 4 units in the last place
    case Nonlinearity::Kind::gelu: return gelu_error(x) * std::abs(y) + kSubnormal;
  }
  return 0;
}

/// Of the gradient dx for x, or y, and dy.
inline double backward_error(const Nonlinearity& function, double value, double dy, double dx) {
  if (function.kind != Nonlinearity::Kind::gelu) return 4 * kUnit * std::abs(dx) + kSubnormal;  // at most two sums and products
  const double x = within_range(value);
  const double phi = std::erfc(-x / std::sqrt(2.0)) / 2, by_x = std::abs(x) * std::exp(-x * x / 2) / 2;
  return std::abs(dy) * (phi + by_x) * (gelu_error(x) + 3 * kUnit) + kSubnormal;
}

class KernelNonlinearity : public kernel_case::KernelCase {
 protected:
  /// Numbers from where all functions bend to where all are flat, with infinities, zeros of both signs and NaN among them.
  Tensor make_x(DType dtype, std::int64_t count) {
    constexpr double kSpecial[] = {0.0, -0.0, NAN, INFINITY, -INFINITY, 1e-7, -100, 100};
    const Tensor x = make_filled(dtype, {count}, 1, -15, 15);
    for (std::int64_t i = 2; i < count; i += 5) kernel_case::set_value(x, i, kSpecial[i / 5 % 8]);
    return x;
  }
  /// All values of a type of 16 bits.
  Tensor make_all(DType dtype) {
    const Tensor x = make(dtype, {0x10000});
    for (std::int64_t i = 0; i < 0x10000; ++i) {
      static_cast<std::uint16_t*>(x.view().raw())[i] = static_cast<std::uint16_t>(i);
    }
    return x;
  }

  void expect_bounds(const NamedFunction& named, const Tensor& x, const Tensor& dy, const std::string& what) {
    const Nonlinearity& function = named.function;
    const DType dtype = x.dtype();
    const Tensor y = make(dtype, x.shape()), wanted = make(DType::fp32, x.shape());
    run_fast(NonlinearityForward{.x = x, .y = y, .function = function});
    run_oracle(NonlinearityForward{.x = x, .y = wanted, .function = function});
    kernel_case::expect_rounded_once(
        y, wanted, [&](std::int64_t i) { return forward_error(function, value_at(x, i), value_at(wanted, i)); },
        what + " " + named.name);

    const Tensor value = function.derives_from_input() ? x : y, dx = make(dtype, x.shape());
    run_fast(NonlinearityBackward{.value = value, .dy = dy, .dx = dx, .function = function});
    run_oracle(NonlinearityBackward{.value = value, .dy = dy, .dx = wanted, .function = function});
    const auto error = [&](std::int64_t i) {
      return backward_error(function, value_at(value, i), value_at(dy, i), value_at(wanted, i));
    };
    kernel_case::expect_rounded_once(dx, wanted, error, what + " gradient of " + named.name);
  }
};

TEST_P(KernelNonlinearity, IsWithinItsBound) {
  for (const DType dtype : kernel_case::kFloatingTypes) {
    for (const std::int64_t count : {0, 1, 3, 8, 17, 64, 1031, 5000}) {
      const Tensor x = make_x(dtype, count), dy = make_filled(dtype, {count}, 2);
      const std::string what = std::string(name(dtype)) + " " + std::to_string(count);
      for (const NamedFunction& function : kFunctions) expect_bounds(function, x, dy, what);
    }
  }
}

TEST_P(KernelNonlinearity, OfEveryHalfAndBFloat16IsWithinItsBound) {
  for (const DType dtype : {DType::fp16, DType::bf16}) {
    const Tensor x = make_all(dtype), dy = make_filled(dtype, {0x10000}, 1, 1, 2);
    for (const NamedFunction& function : kFunctions) expect_bounds(function, x, dy, std::string(name(dtype)));
  }
}

TEST_P(KernelNonlinearity, WorksInPlace) {
  for (const DType dtype : kernel_case::kFloatingTypes) {
    for (const NamedFunction& named : kFunctions) {
      const Tensor x = make_x(dtype, 1031), dy = make_filled(dtype, {1031}, 2);
      const Tensor y = make(dtype, {1031}), dx = make(dtype, {1031});
      run_fast(NonlinearityForward{.x = x, .y = y, .function = named.function});
      run_fast(NonlinearityBackward{.value = y, .dy = dy, .dx = dx, .function = named.function});
      run_fast(NonlinearityForward{.x = x, .y = x, .function = named.function});
      run_fast(NonlinearityBackward{.value = y, .dy = dy, .dx = dy, .function = named.function});
      kernel_case::expect_same(x, y, named.name);
      kernel_case::expect_same(dy, dx, std::string("gradient of ") + named.name);
    }
  }
}

}  // namespace minim::nonlinearity_suite
