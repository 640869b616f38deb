#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "minim/runtime/kernels/exponents.h"

namespace minim::command {

/// How many values of a tensor have which binary exponent, and what FP16 makes of them under a scale of 2^log2_scale, rounding to
/// nearest even. All numbers are exact for every power of two.
class ExponentCounts {
 public:
  static constexpr int kBins = kMantissas * kExponents;
  static constexpr int kLowest = -127, kHighest = 127;  ///< exponents; the lowest stands for all below 2^-126

  ExponentCounts() = default;
  /// As CountExponents counts: [kMantissas, kExponents].
  explicit ExponentCounts(std::span<const std::int64_t, kBins> counts);

  /// Values with 2^exponent <= |x| < 2^(exponent + 1).
  std::int64_t at(int exponent) const;
  /// Of them, those of that mantissa.
  std::int64_t& at(Mantissa mantissa, int exponent) { return counts_[index(mantissa, exponent + 127)]; }
  std::int64_t at(Mantissa mantissa, int exponent) const { return counts_[index(mantissa, exponent + 127)]; }
  std::int64_t& zeros() { return counts_[index(Mantissa::power_of_two, 0)]; }
  std::int64_t zeros() const { return counts_[index(Mantissa::power_of_two, 0)]; }
  std::int64_t& infinities() { return counts_[index(Mantissa::power_of_two, 255)]; }
  std::int64_t infinities() const { return counts_[index(Mantissa::power_of_two, 255)]; }
  std::int64_t& nans() { return counts_[index(Mantissa::between, 255)]; }
  std::int64_t nans() const { return counts_[index(Mantissa::between, 255)]; }

  std::int64_t elements() const;
  std::int64_t non_zero() const;  ///< finite values that are not zero: what shares are of
  bool is_empty() const { return non_zero() == 0; }
  /// Exponents of the smallest and largest value that is finite and not zero. Where there is none, `lowest` > `highest`.
  int lowest() const;
  int highest() const;

  /// |x| 2^s <= 2^-25: becomes zero.
  std::int64_t flushed(int log2_scale) const;
  /// 2^-25 < |x| 2^s < 2^-14: stays, with fewer than 11 bits.
  std::int64_t subnormal(int log2_scale) const;
  /// 2^15 <= |x| 2^s < 65520: twice as large would be infinite.
  std::int64_t near_overflow(int log2_scale) const;
  /// |x| 2^s >= 65520: becomes infinite.
  std::int64_t overflowing(int log2_scale) const;

  friend bool operator==(const ExponentCounts&, const ExponentCounts&) = default;

 private:
  static constexpr std::size_t index(Mantissa mantissa, int biased) {
    return static_cast<std::size_t>(mantissa) * kExponents + static_cast<std::size_t>(biased);
  }
  /// Values with exponents of [from, to).
  std::int64_t between(int from, int to) const;

  std::array<std::int64_t, kBins> counts_{};
};

}  // namespace minim::command
