#include <omp.h>

#include <cstring>

#include "runtime/vector_case.h"

namespace minim {
namespace {

using VectorConversion = vector_case::VectorCase;

#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/// All of the 2^32 floats.
constexpr std::uint32_t kLowStep = 1;
#else
/// Unoptimised and instrumented builds: every sign, exponent and upper mantissa, and every 251st of what is below.
constexpr std::uint32_t kLowStep = 251;
#endif

/// How many of the floats with these upper 16 bits `simd::from_float` turns into other bits than the scalar conversion.
template <class T>
std::int64_t count_differences(std::uint32_t high, std::vector<float>& floats, std::vector<T>& found) {
  for (std::uint32_t i = 0; i < floats.size(); ++i) floats[i] = std::bit_cast<float>(high << 16U | i * kLowStep);
  simd::from_float(floats.data(), found.data(), static_cast<std::int64_t>(floats.size()));
  std::int64_t differences = 0;
  for (std::size_t i = 0; i < floats.size(); ++i) differences += found[i].bits != round_to<T>(floats[i]).bits ? 1 : 0;
  return differences;
}

template <class T>
std::int64_t count_differences() {
  std::int64_t differences = 0;
#pragma omp parallel num_threads(2) reduction(+ : differences)
  {
    std::vector<float> floats((0x10000 + kLowStep - 1) / kLowStep);
    std::vector<T> found(floats.size());
#pragma omp for
    for (std::uint32_t high = 0; high < 0x10000; ++high) differences += count_differences(high, floats, found);
  }
  return differences;
}

TEST_P(VectorConversion, OfEveryFloatToHalfEqualsTheScalarOne) { EXPECT_EQ(count_differences<Half>(), 0); }

TEST_P(VectorConversion, OfEveryFloatToBFloat16EqualsTheScalarOne) { EXPECT_EQ(count_differences<BFloat16>(), 0); }

template <class T>
void expect_every_value_converts_to_float() {
  std::vector<T> values(0x10000);
  for (std::size_t i = 0; i < values.size(); ++i) values[i].bits = static_cast<std::uint16_t>(i);
  std::vector<float> found(values.size());
  simd::to_float(values.data(), found.data(), static_cast<std::int64_t>(values.size()));
  for (std::size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(std::bit_cast<std::uint32_t>(found[i]), std::bit_cast<std::uint32_t>(to_float(values[i]))) << "bits " << i;
  }
}

TEST_P(VectorConversion, OfEveryHalfAndBFloat16ToFloatEqualsTheScalarOne) {
  expect_every_value_converts_to_float<Half>();
  expect_every_value_converts_to_float<BFloat16>();
}

TEST_P(VectorConversion, WritesExactlyTheElementsAskedForAtAnyAlignment) {
  constexpr std::size_t kCount = 80;
  std::vector<float> floats(kCount + 2);
  for (std::size_t i = 0; i < floats.size(); ++i) floats[i] = 0.37F * static_cast<float>(i) - 11;
  const Half untouched{0xBEEF};
  for (std::size_t n = 0; n <= kCount; ++n) {
    std::vector<Half> halves(kCount + 2, untouched);
    simd::from_float(floats.data() + 1, halves.data() + 1, static_cast<std::int64_t>(n));
    for (std::size_t i = 0; i < halves.size(); ++i) {
      ASSERT_EQ(halves[i], i >= 1 && i <= n ? to_half(floats[i]) : untouched) << n << " elements, element " << i;
    }
  }
}

TEST_P(VectorConversion, OfTensorsCoversEveryPairOfTypes) {
  constexpr std::int64_t kCount = 70001;  // more than one thread's piece
  use_threads(2);
  for (const DType from : vector_case::kFloatingTypes) {
    for (const DType to : vector_case::kFloatingTypes) {
      const Tensor x = make_filled(from, {kCount}, 1, -70000, 70000);
      const Tensor y = make(to, {kCount});
      const Tensor wanted = make(to, {kCount});
      for (std::int64_t i = 0; i < kCount; ++i) vector_case::set_value(wanted, i, vector_case::value_at(x, i));
      simd::convert(x, y);
      vector_case::expect_same(y, wanted, std::string(name(from)) + " to " + std::string(name(to)));
    }
  }
}

TEST_P(VectorConversion, OfTensorsRefusesOtherCountsAndIntegers) {
  EXPECT_THROW(simd::convert(make(DType::fp16, {3}), make(DType::fp32, {4})), InvalidArgument);
  EXPECT_THROW(simd::convert(make(DType::int32, {3}), make(DType::fp32, {3})), InvalidArgument);
}

MINIM_FOR_EACH_INSTRUCTION_SET(VectorConversion);

TEST(InstructionSets, ThePortableOneIsAlwaysThereAndTheWidestIsInUse) {
  const auto sets = simd::available_instruction_sets();
  EXPECT_EQ(sets.front(), simd::InstructionSet::portable);
  EXPECT_EQ(simd::instruction_set(), sets.back());
}

TEST(InstructionSets, ALimitHoldsUntilTheNext) {
  for (const auto set : simd::available_instruction_sets()) {
    simd::limit_instruction_set(set);
    EXPECT_EQ(simd::instruction_set(), set);
  }
}

}  // namespace
}  // namespace minim
