#include "minim/runtime/parameter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace minim {
namespace {

constexpr std::uint64_t kSeed = (std::uint64_t{5} << 32U) | 17U;
constexpr std::int64_t kBeyond32Bits = std::int64_t{1} << 32U;

std::vector<float> initialized(const Initializer& initializer, std::uint64_t seed, const std::string& name, std::int64_t begin,
                               std::size_t elements) {
  std::vector<float> values(elements, NAN);
  initialize(initializer, seed, name, begin, values);
  return values;
}

double mean_of(const std::vector<float>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double mean_square_of(const std::vector<float>& values) {
  const auto add_square = [](double sum, double value) { return sum + value * value; };
  return std::accumulate(values.begin(), values.end(), 0.0, add_square) / static_cast<double>(values.size());
}

TEST(Layout, ReordersTheShape) {
  const Shape oihw{8, 3, 5, 7};
  EXPECT_EQ(physical_shape(oihw, {}), oihw);
  EXPECT_EQ(physical_shape(oihw, {{0, 2, 3, 1}}), Shape({8, 5, 7, 3}));
}

TEST(Layout, TransposesAMatrix) {
  const std::vector<float> logical{0, 1, 2, 10, 11, 12};
  const std::vector<float> wanted{0, 10, 1, 11, 2, 12};
  std::vector<float> physical(6), back(6);
  to_physical({2, 3}, {{1, 0}}, logical, physical);
  EXPECT_EQ(physical, wanted);
  to_logical({2, 3}, {{1, 0}}, physical, back);
  EXPECT_EQ(back, logical);
}

TEST(Layout, PutsEveryElementWhereItsIndicesSay) {
  const Shape oihw{4, 3, 2, 5};
  const Layout ohwi{{0, 2, 3, 1}};
  std::vector<float> logical(120), physical(120), back(120);
  std::iota(logical.begin(), logical.end(), 0.0F);
  to_physical(oihw, ohwi, logical, physical);
  for (std::size_t o = 0; o < 4; ++o) {
    for (std::size_t i = 0; i < 3; ++i) {
      for (std::size_t h = 0; h < 2; ++h) {
        for (std::size_t w = 0; w < 5; ++w) {
          ASSERT_EQ(physical[((o * 2 + h) * 5 + w) * 3 + i], logical[((o * 3 + i) * 2 + h) * 5 + w]);
        }
      }
    }
  }
  to_logical(oihw, ohwi, physical, back);
  EXPECT_EQ(back, logical);
}

TEST(Layout, KeepsTheOrderWhereNoneIsGiven) {
  const std::vector<float> values{3, 1, 2};
  std::vector<float> copy(3);
  to_physical({3}, {}, values, copy);
  EXPECT_EQ(copy, values);
}

TEST(Layout, PermutesTheDimensionsOfASplitShape) {
  const Layout layout{.order = {0, 2, 1}, .split = {2, 3, 2}};
  EXPECT_EQ(physical_shape({2, 6}, layout), Shape({2, 6}));
  std::vector<float> logical(12), physical(12), back(12);
  std::iota(logical.begin(), logical.end(), 0.0F);
  to_physical({2, 6}, layout, logical, physical);
  EXPECT_EQ(physical, (std::vector<float>{0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11}));
  to_logical({2, 6}, layout, physical, back);
  EXPECT_EQ(back, logical);
  EXPECT_THROW(physical_shape({2, 6}, {.order = {0, 1}, .split = {2, 5}}), InvalidArgument);
}

TEST(Layout, NamesEveryDimensionOnce) {
  EXPECT_THROW(physical_shape({2, 3}, {{0, 0}}), InvalidArgument);
  EXPECT_THROW(physical_shape({2, 3}, {{1, 2}}), InvalidArgument);
  EXPECT_THROW(physical_shape({2, 3}, {{0}}), InvalidArgument);
}

TEST(Layout, CopiesWholeParametersOnly) {
  std::vector<float> six(6), five(5);
  EXPECT_THROW(to_logical({2, 3}, {}, five, six), InvalidArgument);
  EXPECT_THROW(to_physical({2, 3}, {}, six, five), InvalidArgument);
}

TEST(Initializer, FillsWithAConstant) {
  EXPECT_EQ(initialized(Initializer::constant(0.25), kSeed, "bn.gamma", 5, 3), (std::vector<float>{0.25F, 0.25F, 0.25F}));
}

// Computed by a separate Philox and FNV-1a in Python: checkpoints and papers depend on a seed meaning the same for ever.
TEST(Initializer, GivesTheSameNumbersForEver) {
  const auto uniform = initialized(Initializer::uniform(0.5), kSeed, "conv1.weight", 0, 3);
  EXPECT_EQ(uniform, (std::vector<float>{-0x1.9afe1cp-2F, 0x1.0ce87p-3F, 0x1.004f78p-2F}));
  EXPECT_EQ(initialized(Initializer::uniform(0.5), kSeed, "conv1.weight", kBeyond32Bits + 3, 1)[0], 0x1.214e54p-4F);
  // Through log and cos, which may differ by an ulp of FP64 between C libraries: within an ulp of FP32.
  EXPECT_FLOAT_EQ(initialized(Initializer::normal(2), kSeed, "conv1.weight", 1, 1)[0], 0x1.40daf6p+1F);
  EXPECT_FLOAT_EQ(initialized(Initializer::normal(2), kSeed, "conv1.weight", kBeyond32Bits + 3, 1)[0], -0x1.536a88p-1F);
}

TEST(Initializer, GivesAnyPartAsItIsInTheWhole) {
  for (const Initializer& initializer : {Initializer::normal(1), Initializer::uniform(1)}) {
    const auto whole = initialized(initializer, kSeed, "fc.weight", 0, 100);
    for (const std::size_t begin : {0U, 1U, 2U, 3U, 17U, 96U}) {
      const auto part = initialized(initializer, kSeed, "fc.weight", static_cast<std::int64_t>(begin), 4);
      EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + static_cast<std::ptrdiff_t>(begin))) << begin;
    }
  }
}

TEST(Initializer, DiffersBySeedAndByName) {
  const auto values = initialized(Initializer::normal(1), 1, "a.weight", 0, 8);
  EXPECT_NE(values, initialized(Initializer::normal(1), 2, "a.weight", 0, 8));
  EXPECT_NE(values, initialized(Initializer::normal(1), kBeyond32Bits + 1, "a.weight", 0, 8));
  EXPECT_NE(values, initialized(Initializer::normal(1), 1, "b.weight", 0, 8));
}

// The mean of n numbers of deviation s has deviation s / sqrt(n), their mean square that of (fourth moment - s^4) / n: 2 s^4 / n
// for normal numbers, 4/45 limit^4 / n for uniform ones. Five deviations away by chance: one in 1.7 million.
constexpr std::size_t kSamples = 100000;
constexpr double kDeviations = 5;

TEST(Initializer, DrawsNormalNumbersOfTheGivenDeviation) {
  const double s = 0.02, n = kSamples;
  const auto values = initialized(Initializer::normal(s), kSeed, "fc.weight", 0, kSamples);
  EXPECT_NEAR(mean_of(values), 0, kDeviations * s / std::sqrt(n));
  EXPECT_NEAR(mean_square_of(values), s * s, kDeviations * s * s * std::sqrt(2 / n));
  const auto within = std::ranges::count_if(values, [s](float value) { return std::abs(value) < s; });
  const double wanted = std::erf(1 / std::sqrt(2.0));  // of a normal distribution lies within one deviation
  EXPECT_NEAR(static_cast<double>(within) / n, wanted, kDeviations * std::sqrt(wanted * (1 - wanted) / n));
}

TEST(Initializer, DrawsUniformNumbersUpToTheLimit) {
  const double limit = 0.125, n = kSamples;
  const auto values = initialized(Initializer::uniform(limit), kSeed, "fc.weight", 0, kSamples);
  EXPECT_NEAR(mean_of(values), 0, kDeviations * limit / std::sqrt(3 * n));
  EXPECT_NEAR(mean_square_of(values), limit * limit / 3, kDeviations * limit * limit * std::sqrt(4.0 / 45 / n));
  const auto [smallest, largest] = std::ranges::minmax(values);
  EXPECT_GE(smallest, -limit);
  EXPECT_LE(largest, limit);
  EXPECT_LT(smallest, -0.99 * limit);
  EXPECT_GT(largest, 0.99 * limit);
}

TEST(Initializer, RefusesANegativeFirstElement) {
  EXPECT_THROW(initialized(Initializer::normal(1), 1, "a.weight", -1, 1), InvalidArgument);
}

}  // namespace
}  // namespace minim
