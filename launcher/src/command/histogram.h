#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace minim::command {

/// How values are distributed. Those that are not finite are left out.
struct Histogram {
  std::int64_t count = 0;
  double min = 0, max = 0, sum = 0, sum_of_squares = 0;
  std::vector<double> limits;  ///< upper ends of the buckets; each begins where the one before ends, the first at `min`
  std::vector<double> counts;  ///< values in each bucket
};

/// Buckets of equal width from the least to the greatest value; a single one where these are equal or there is none.
Histogram histogram_of(std::span<const float> values);

}  // namespace minim::command
