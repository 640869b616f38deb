#pragma once

#include <algorithm>
#include <cmath>

namespace minim::testing {

/// A number in FP64, and how far the same computation in FP32 may have come away from it. Each operation adds its rounding to
/// what it passes on. Source: Higham, "Accuracy and stability of numerical algorithms", section 3.3, running error analysis.
struct Bounded {
  static constexpr double kUnit = 0x1p-24;  ///< largest relative error of rounding to FP32

  double value = 0, error = 0;

  Bounded() = default;
  Bounded(double constant) : Bounded(constant, kUnit * std::abs(constant)) {}  ///< rounded to FP32
  Bounded(double value_, double error_) : value(value_), error(error_) {}
  static Bounded exact(double value) { return {value, 0}; }

  /// The result of an operation, rounded, whose operands' errors come to `passed_on`.
  static Bounded rounded(double value, double passed_on) { return {value, passed_on + kUnit * (std::abs(value) + passed_on)}; }
};

inline Bounded operator+(const Bounded& a, const Bounded& b) { return Bounded::rounded(a.value + b.value, a.error + b.error); }
inline Bounded operator-(const Bounded& a, const Bounded& b) { return Bounded::rounded(a.value - b.value, a.error + b.error); }
inline Bounded operator*(const Bounded& a, const Bounded& b) {
  return Bounded::rounded(a.value * b.value, std::abs(a.value) * b.error + std::abs(b.value) * a.error + a.error * b.error);
}
/// The divisor's error is below its magnitude.
inline Bounded operator/(const Bounded& a, const Bounded& b) {
  const double quotient = a.value / b.value;
  return Bounded::rounded(quotient, (a.error + std::abs(quotient) * b.error) / (std::abs(b.value) - b.error));
}
inline Bounded sqrt(const Bounded& a) {
  const double root = std::sqrt(a.value);
  return Bounded::rounded(root, std::min(root > 0 ? a.error / root : INFINITY, std::sqrt(a.error)));
}

}  // namespace minim::testing
