#include "command/histogram.h"

#include <algorithm>
#include <cmath>

namespace minim::command {

Histogram histogram_of(std::span<const float> values) {
  constexpr std::int64_t kBuckets = 64;
  Histogram result;
  for (const float value : values) {
    if (!std::isfinite(value)) continue;
    const double x = value;
    result.min = result.count == 0 ? x : std::min(result.min, x);
    result.max = result.count == 0 ? x : std::max(result.max, x);
    result.sum += x;
    result.sum_of_squares += x * x;
    ++result.count;
  }
  const double width = (result.max - result.min) / kBuckets;
  if (!(width > 0)) {
    result.limits = {result.max};
    result.counts = {static_cast<double>(result.count)};
    return result;
  }
  for (std::int64_t bucket = 1; bucket < kBuckets; ++bucket) {
    result.limits.push_back(result.min + static_cast<double>(bucket) * width);
  }
  result.limits.push_back(result.max);
  result.counts.resize(kBuckets);
  for (const float value : values) {
    if (!std::isfinite(value)) continue;
    const auto bucket = static_cast<std::int64_t>((value - result.min) / width);
    result.counts[static_cast<std::size_t>(std::min(bucket, kBuckets - 1))] += 1;
  }
  return result;
}

}  // namespace minim::command
