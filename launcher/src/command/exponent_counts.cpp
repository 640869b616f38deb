#include "command/exponent_counts.h"

#include <algorithm>
#include <numeric>

namespace minim::command {
namespace {

// Exponents of FP16's numbers.
constexpr int kHalfOfSmallest = -25;  // a value that is this power of two is a tie between 0 and 2^-24, and goes to 0
constexpr int kSmallestNormal = -14;
constexpr int kLargest = 15;

}  // namespace

ExponentCounts::ExponentCounts(std::span<const std::int64_t, kBins> counts) { std::ranges::copy(counts, counts_.begin()); }

std::int64_t ExponentCounts::at(int exponent) const {
  std::int64_t count = at(Mantissa::between, exponent) + at(Mantissa::rounds_up, exponent);
  if (exponent > kLowest) count += at(Mantissa::power_of_two, exponent);  // down there these are the zeros
  return count;
}

std::int64_t ExponentCounts::elements() const { return std::accumulate(counts_.begin(), counts_.end(), std::int64_t{0}); }
std::int64_t ExponentCounts::non_zero() const { return between(kLowest, kHighest + 1); }

int ExponentCounts::lowest() const {
  int exponent = kLowest;
  while (exponent <= kHighest && at(exponent) == 0) ++exponent;
  return exponent;
}

int ExponentCounts::highest() const {
  int exponent = kHighest;
  while (exponent >= kLowest && at(exponent) == 0) --exponent;
  return exponent;
}

std::int64_t ExponentCounts::between(int from, int to) const {
  std::int64_t sum = 0;
  for (int exponent = std::max(from, kLowest); exponent < std::min(to, kHighest + 1); ++exponent) sum += at(exponent);
  return sum;
}

std::int64_t ExponentCounts::flushed(int log2_scale) const {
  const int tie = kHalfOfSmallest - log2_scale;
  return between(kLowest, tie) + (tie > kLowest ? at(Mantissa::power_of_two, tie) : 0);
}

std::int64_t ExponentCounts::subnormal(int log2_scale) const {
  return between(kLowest, kSmallestNormal - log2_scale) - flushed(log2_scale);
}

std::int64_t ExponentCounts::overflowing(int log2_scale) const {
  const int last = kLargest - log2_scale;
  return between(last + 1, kHighest + 1) + at(Mantissa::rounds_up, last);
}

std::int64_t ExponentCounts::near_overflow(int log2_scale) const {
  return between(kLargest - log2_scale, kHighest + 1) - overflowing(log2_scale);
}

}  // namespace minim::command
