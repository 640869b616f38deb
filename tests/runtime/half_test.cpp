#include "minim/runtime/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <thread>

namespace minim {
namespace {

static_assert(to_half(1.0F).bits == 0x3C00);
static_assert(to_half(kHalfMax).bits == 0x7BFF);
static_assert(to_half(kHalfMinNormal).bits == 0x0400);
static_assert(to_half(kHalfMinSubnormal).bits == 0x0001);
static_assert(to_bfloat16(1.0F).bits == 0x3F80);
static_assert(to_float(round_to<Half>(0.1F)) != 0.1F && round_to<float>(0.1F) == 0.1F);

/// How a 16-bit format is made up, for an oracle that shares nothing with the code under test.
struct Format {
  int mantissa_bits;
  int exponent_bits;

  int bias() const { return (1 << (exponent_bits - 1)) - 1; }
  unsigned infinity() const { return ((1U << exponent_bits) - 1U) << mantissa_bits; }
  /// The value of a magnitude, by the definition of the format. For infinity: the power of two that would come next.
  double magnitude(unsigned bits) const {
    const int exponent = static_cast<int>(bits >> mantissa_bits);
    const auto mantissa = static_cast<double>(bits & ((1U << mantissa_bits) - 1U));
    const double hidden = exponent == 0 ? 0.0 : std::ldexp(1.0, mantissa_bits);
    return std::ldexp(hidden + mantissa, std::max(exponent, 1) - bias() - mantissa_bits);
  }
};
constexpr Format kHalf{10, 5};
constexpr Format kBFloat16{7, 8};

template <class T>
void expect_reads_every_pattern_exactly(const Format& format) {
  for (unsigned bits = 0; bits < 0x10000; ++bits) {
    const float value = to_float(T{static_cast<std::uint16_t>(bits)});
    const unsigned magnitude = bits & 0x7FFFU;
    ASSERT_EQ(std::signbit(value), bits >= 0x8000U) << bits;
    ASSERT_EQ(std::isnan(value), magnitude > format.infinity()) << bits;
    if (magnitude > format.infinity()) continue;
    const double wanted = magnitude == format.infinity() ? HUGE_VAL : format.magnitude(magnitude);
    ASSERT_EQ(std::abs(value), wanted) << bits;
  }
}

/// Counts the FP32 magnitudes of [begin, end), with both signs, that `T` does not round to nearest, ties to even. Walks through
/// the values of the format in step with the floats: nothing but comparisons with midpoints, which are exact in FP64.
template <class T>
std::int64_t count_misrounded(const Format& format, std::uint32_t begin, std::uint32_t end) {
  std::int64_t misrounded = 0;
  unsigned wanted = 0;
  double midpoint = 0;
  const auto advance_to = [&](double value) {
    for (; wanted < format.infinity(); ++wanted) {
      midpoint = (format.magnitude(wanted) + format.magnitude(wanted + 1)) / 2;
      if (value < midpoint || (value == midpoint && wanted % 2 == 0)) return;
    }
    midpoint = HUGE_VAL;
  };
  for (std::uint32_t bits = begin; bits < end; ++bits) {
    const float value = std::bit_cast<float>(bits);
    if (!(value < midpoint)) advance_to(value);
    misrounded += round_to<T>(value).bits != wanted;
    misrounded += round_to<T>(-value).bits != (wanted | 0x8000U);
  }
  return misrounded;
}

/// Counts the NaN that `T` does not turn into a quiet NaN with the same sign and, where quiet already, the same upper payload.
template <class T>
std::int64_t count_lost_nans(const Format& format) {
  std::int64_t lost = 0;
  const unsigned quiet = 1U << (format.mantissa_bits - 1);
  for (std::uint32_t bits = 0x7F800001U; bits <= 0x7FFFFFFFU; ++bits) {
    const unsigned wanted = format.infinity() | quiet | ((bits & 0x7FFFFFU) >> (23 - format.mantissa_bits));
    lost += round_to<T>(std::bit_cast<float>(bits)).bits != wanted;
    lost += round_to<T>(std::bit_cast<float>(bits | 0x80000000U)).bits != (wanted | 0x8000U);
  }
  return lost;
}

template <class T>
void expect_rounds_every_float_to_nearest_even(const Format& format) {
  constexpr std::uint32_t kInfinity = 0x7F800000U, kMiddle = kInfinity / 2;
  std::int64_t misrounded_low = 0;
  std::thread low([&] { misrounded_low = count_misrounded<T>(format, 0, kMiddle); });
  const std::int64_t misrounded_high = count_misrounded<T>(format, kMiddle, kInfinity + 1);
  low.join();
  EXPECT_EQ(misrounded_low, 0);
  EXPECT_EQ(misrounded_high, 0);
  EXPECT_EQ(count_lost_nans<T>(format), 0);
}

TEST(Half, ReadsEveryPatternExactly) { expect_reads_every_pattern_exactly<Half>(kHalf); }
TEST(BFloat16, ReadsEveryPatternExactly) { expect_reads_every_pattern_exactly<BFloat16>(kBFloat16); }
TEST(Half, RoundsEveryFloatToNearestEven) { expect_rounds_every_float_to_nearest_even<Half>(kHalf); }
TEST(BFloat16, RoundsEveryFloatToNearestEven) { expect_rounds_every_float_to_nearest_even<BFloat16>(kBFloat16); }

TEST(Half, ComparesBits) {
  EXPECT_EQ(to_half(NAN), to_half(NAN));
  EXPECT_NE(to_half(0.0F), to_half(-0.0F));
}

}  // namespace
}  // namespace minim
