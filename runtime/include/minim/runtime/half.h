#pragma once

#include <bit>
#include <cstdint>

namespace minim {

/// IEEE 754 binary16. Storage only: arithmetic is done in `float` and rounded once on store.
struct Half {
  std::uint16_t bits = 0;
  friend constexpr bool operator==(Half, Half) = default;  // of bits: NaN equals itself, -0 differs from +0
};

/// bfloat16: the upper half of a binary32. Storage only, as `Half`.
struct BFloat16 {
  std::uint16_t bits = 0;
  friend constexpr bool operator==(BFloat16, BFloat16) = default;
};

inline constexpr float kHalfMax = 65504.0F;             ///< largest finite binary16
inline constexpr float kHalfMinNormal = 0x1p-14F;       ///< smallest normal binary16
inline constexpr float kHalfMinSubnormal = 0x1p-24F;    ///< smallest positive binary16

/// The largest number that becomes 0 when it is rounded to `T`.
template <class T>
inline constexpr float kRoundsToZero = 0;
template <>
inline constexpr float kRoundsToZero<Half> = 0x1p-25F;
template <>
inline constexpr float kRoundsToZero<BFloat16> = 0x1p-134F;

/// Exact.
constexpr float to_float(Half h) {
  const std::uint32_t sign = static_cast<std::uint32_t>(h.bits & 0x8000U) << 16U;
  const std::uint32_t exponent = (h.bits >> 10U) & 0x1FU;
  const std::uint32_t mantissa = h.bits & 0x3FFU;
  if (exponent == 0x1F) return std::bit_cast<float>(sign | 0x7F800000U | (mantissa << 13U) | (mantissa != 0 ? 0x400000U : 0U));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112U) << 23U) | (mantissa << 13U));
  const float magnitude = static_cast<float>(mantissa) * kHalfMinSubnormal;
  return sign != 0 ? -magnitude : magnitude;
}

/// Rounds to nearest, ties to even. Values from 65520 on become infinity; every NaN stays a quiet NaN with its upper payload.
constexpr Half to_half(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16U) & 0x8000U);
  const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
  if (magnitude > 0x7F800000U) return {static_cast<std::uint16_t>(sign | 0x7E00U | ((magnitude >> 13U) & 0x3FFU))};
  if (magnitude >= 0x477FF000U) return {static_cast<std::uint16_t>(sign | 0x7C00U)};  // 65520 and above
  if (magnitude < 0x38800000U) {  // below 2^-14: adding 0.5 lets the FPU round at 2^-24
    const float shifted = std::bit_cast<float>(magnitude) + 0.5F;
    return {static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3F000000U))};
  }
  const std::uint32_t rounded = magnitude + 0xFFFU + ((magnitude >> 13U) & 1U);
  return {static_cast<std::uint16_t>(sign | ((rounded - 0x38000000U) >> 13U))};
}

/// Exact.
constexpr float to_float(BFloat16 b) { return std::bit_cast<float>(static_cast<std::uint32_t>(b.bits) << 16U); }

/// Rounds to nearest, ties to even; every NaN stays a quiet NaN.
constexpr BFloat16 to_bfloat16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return {static_cast<std::uint16_t>((bits >> 16U) | 0x40U)};
  return {static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16U) & 1U)) >> 16U)};
}

constexpr float to_float(float value) { return value; }

/// `value` rounded to the storage type `T`: float, Half or BFloat16.
template <class T>
constexpr T round_to(float value);
template <>
constexpr float round_to<float>(float value) { return value; }
template <>
constexpr Half round_to<Half>(float value) { return to_half(value); }
template <>
constexpr BFloat16 round_to<BFloat16>(float value) { return to_bfloat16(value); }

}  // namespace minim
