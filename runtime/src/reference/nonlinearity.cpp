#include <algorithm>
#include <cmath>
#include <numbers>

#include "reference/elements.h"
#include "reference/kernels.h"

namespace minim::reference {
namespace {

using Kind = Nonlinearity::Kind;

/// Beyond, GELU is 0 or x in every type; infinity times 0 would be NaN.
constexpr double kGeluRange = 40;

double normal_distribution(double x) { return std::erfc(-x / std::numbers::sqrt2) / 2; }
double normal_density(double x) { return std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi); }

double value_of(const Nonlinearity& function, double x) {
  switch (function.kind) {
    case Kind::leaky_relu: return x > 0 ? x : function.slope * x;
    case Kind::sigmoid: return 1 / (1 + std::exp(-x));
    case Kind::tanh: return std::tanh(x);
    case Kind::gelu: return std::max(x, -kGeluRange) * normal_distribution(x);
  }
  return x;
}

/// `value`: x or y, as the function wants.
double derivative_of(const Nonlinearity& function, double value) {
  switch (function.kind) {
    case Kind::leaky_relu: return value > 0 ? 1 : function.slope;
    case Kind::sigmoid: return value * (1 - value);
    case Kind::tanh: return 1 - value * value;
    case Kind::gelu: {
      const double x = std::clamp(value, -kGeluRange, kGeluRange);
      return normal_distribution(x) + x * normal_density(x);
    }
  }
  return 1;
}

}  // namespace

void run(const NonlinearityForward& args) {
  const Input x(args.x);
  const Output y(args.y);
  for (std::int64_t i = 0; i < args.x.elements(); ++i) y.store(i, value_of(args.function, x[i]));
}

void run(const NonlinearityBackward& args) {
  const Input value(args.value), dy(args.dy);
  const Output dx(args.dx);
  for (std::int64_t i = 0; i < args.value.elements(); ++i) dx.store(i, dy[i] * derivative_of(args.function, value[i]));
}

}  // namespace minim::reference
