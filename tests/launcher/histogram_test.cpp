#include "command/histogram.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace minim::command {
namespace {

TEST(Histogram, EveryValueIsInTheBucketThatEndsAtOrBeyondIt) {
  std::vector<float> values;
  for (int i = 0; i < 1000; ++i) values.push_back(std::sin(static_cast<float>(i)) * 3 + 1);
  const Histogram histogram = histogram_of(values);
  ASSERT_EQ(histogram.limits.size(), histogram.counts.size());
  double begin = -std::numeric_limits<double>::infinity();
  constexpr double kRounding = 1e-9;  // of a limit, against which a value is compared
  for (std::size_t bucket = 0; bucket < histogram.limits.size(); ++bucket) {
    const double end = histogram.limits[bucket];
    double least = 0, most = 0;
    for (const float value : values) {
      least += value > begin + kRounding && value < end - kRounding ? 1 : 0;
      most += value >= begin - kRounding && value <= end + kRounding ? 1 : 0;
    }
    EXPECT_GE(histogram.counts[bucket], least) << bucket;
    EXPECT_LE(histogram.counts[bucket], most) << bucket;
    begin = end;
  }
  EXPECT_EQ(std::accumulate(histogram.counts.begin(), histogram.counts.end(), 0.0), 1000);
}

TEST(Histogram, SumsAreThoseOfTheValues) {
  const Histogram histogram = histogram_of(std::vector<float>{-1, 2, 5});
  EXPECT_EQ(histogram.count, 3);
  EXPECT_EQ(histogram.min, -1);
  EXPECT_EQ(histogram.max, 5);
  EXPECT_EQ(histogram.sum, 6);
  EXPECT_EQ(histogram.sum_of_squares, 30);
  EXPECT_EQ(histogram.limits.back(), 5);
  EXPECT_EQ(histogram.counts.front(), 1);
  EXPECT_EQ(histogram.counts.back(), 1);
}

TEST(Histogram, EqualValuesAreInOneBucket) {
  const Histogram histogram = histogram_of(std::vector<float>(7, 1.5F));
  EXPECT_EQ(histogram.limits, std::vector<double>{1.5});
  EXPECT_EQ(histogram.counts, std::vector<double>{7});
}

TEST(Histogram, WhatIsNotFiniteIsLeftOut) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const Histogram histogram = histogram_of(std::vector<float>{kInfinity, 1, std::nanf(""), -kInfinity, 2});
  EXPECT_EQ(histogram.count, 2);
  EXPECT_EQ(histogram.min, 1);
  EXPECT_EQ(histogram.max, 2);
  EXPECT_EQ(histogram_of({}).count, 0);
}

}  // namespace
}  // namespace minim::command
