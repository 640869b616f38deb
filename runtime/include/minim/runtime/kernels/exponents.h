#pragma once

#include <cstdint>

#include "minim/runtime/host_device.h"
#include "minim/runtime/tensor.h"

namespace minim {

/// Exponents of FP32 as its bits have them, 127 more than the power of two: 0 of zeros and subnormals, 255 of what is not finite.
inline constexpr int kExponents = 256;

/// What beside the exponent decides how a number, times any power of two, is rounded to FP16.
enum class Mantissa : std::uint8_t {
  between,       ///< all others; with the exponent 0 subnormals, with 255 NaN
  power_of_two,  ///< with the exponent 0 the two zeros, with 255 the infinities
  rounds_up,     ///< 1.11111111111 and more in binary: FP16's mantissa rounds it up to the next power of two, or to infinity
};
inline constexpr int kMantissas = 3;

/// Of a binary32 with these bits; the sign does not matter.
MINIM_HOST_DEVICE constexpr Mantissa mantissa_of(std::uint32_t bits) {
  const std::uint32_t mantissa = bits & 0x7FFFFFU;
  if (mantissa == 0) return Mantissa::power_of_two;
  const bool is_nan = (bits & 0x7FFFFFFFU) > 0x7F800000U;
  return mantissa >= 0x7FF000U && !is_nan ? Mantissa::rounds_up : Mantissa::between;
}
MINIM_HOST_DEVICE constexpr int exponent_of(std::uint32_t bits) { return static_cast<int>(bits >> 23U & 0xFFU); }

/// Adds to counts[m, e] how many elements of x, widened to FP32, have the mantissa m and the exponent e. All that FP16 does to a
/// tensor scaled by a power of two, flushed values and overflows, follows exactly from these counts.
struct CountExponents {
  ConstTensorView x;              ///< [N, ...], fp32, fp16 or bf16
  ConstTensorView valid_samples;  ///< [1], int32: so many of the first dimension count; absent: all do
  TensorView counts;              ///< [kMantissas, kExponents], int64
};

}  // namespace minim
