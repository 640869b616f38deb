#pragma once

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "minim/runtime/kernels/exponents.h"
#include "minim/runtime/philox.h"
#include "minim/runtime/tensor.h"

/// CountExponents by arithmetic on numbers, without a look at their bits.
namespace minim::exponent_oracle {

inline std::size_t bin_of(float value) {
  const auto bin = [](Mantissa mantissa, int exponent) {
    return static_cast<std::size_t>(mantissa) * kExponents + static_cast<std::size_t>(exponent);
  };
  if (std::isnan(value)) return bin(Mantissa::between, 255);
  if (std::isinf(value)) return bin(Mantissa::power_of_two, 255);
  if (value == 0) return bin(Mantissa::power_of_two, 0);
  int exponent = 0;
  const double fraction = 2 * std::frexp(std::abs(static_cast<double>(value)), &exponent);  // in [1, 2)
  exponent += 126;
  // Of subnormals the mantissa has no leading one: their fraction is that of the smallest normal number.
  const double mantissa = exponent <= 0 ? std::abs(static_cast<double>(value)) / 0x1p-126 : fraction - 1;
  const Mantissa kind = mantissa == 0                          ? Mantissa::power_of_two
                        : mantissa >= 1 - std::ldexp(1.0, -11) ? Mantissa::rounds_up
                                                               : Mantissa::between;
  return bin(kind, std::max(exponent, 0));
}

/// Of the first `elements` of x.
inline std::vector<std::int64_t> count(const ConstTensorView& x, std::int64_t elements) {
  std::vector<std::int64_t> counts(std::size_t{kMantissas} * kExponents);
  dispatch_floating(x.dtype(), [&](auto type) {
    for (std::int64_t i = 0; i < elements; ++i) ++counts[bin_of(to_float(x.data<decltype(type)>()[i]))];
  });
  return counts;
}

/// Numbers of both signs with exponents from -50 to 20, with powers of two, zeros and what is not finite among them.
inline void fill_widely(const TensorView& x, std::uint32_t seed) {
  constexpr float kSpecial[] = {0.0F, -0.0F, INFINITY, -INFINITY, NAN, 65504, 65519, 65520, 0x1p-24F, 0x1p-25F, 0x1p-130F, 1};
  dispatch_floating(x.dtype(), [&](auto type) {
    for (std::int64_t i = 0; i < x.elements(); ++i) {
      const auto words = philox({static_cast<std::uint32_t>(i), 0, 0, 0}, {seed, 0});
      const float value = std::ldexp(1 + uniform(words[0]), static_cast<int>(words[1] % 70) - 50);
      const float special = kSpecial[words[2] % 12];
      x.data<decltype(type)>()[i] = round_to<decltype(type)>(i % 5 == 2 ? special : i % 2 == 0 ? -value : value);
    }
  });
}

/// Floats on both sides of where a bin begins: around each power of two, and where FP16's rounding reaches the next.
inline std::vector<float> boundaries() {
  std::vector<float> values = {0.0F, -0.0F, INFINITY, -INFINITY, NAN, -NAN, std::bit_cast<float>(0x7FFFFFFFU)};
  for (int exponent = -149; exponent <= 127; ++exponent) {
    const float power = std::ldexp(1.0F, exponent), rounding = std::ldexp(2 - 0x1p-11F, exponent);
    for (const float value : {power, rounding}) {
      values.insert(values.end(),
                    {std::nextafter(value, 0.0F), value, std::nextafter(value, std::numeric_limits<float>::infinity())});
      values.push_back(-value);
    }
  }
  return values;
}

}  // namespace minim::exponent_oracle
