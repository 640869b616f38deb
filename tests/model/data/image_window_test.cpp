#include "data/image_window.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace minim {
namespace {

TEST(CentralWindow, IsTheMiddleOfTheImageAfterItsShorterSideHasBecome256) {
  const Window same = central_window(256, 256, 224);
  EXPECT_EQ(same.top, 16);
  EXPECT_EQ(same.left, 16);
  EXPECT_EQ(same.height, 224);
  EXPECT_EQ(same.width, 224);

  // 375 x 500 becomes 256 x 341, of which rows 16 to 240 and columns 58 (58.5, to even) to 282 are seen.
  const Window photo = central_window(375, 500, 224);
  EXPECT_DOUBLE_EQ(photo.top, 16.0 * 375 / 256);
  EXPECT_DOUBLE_EQ(photo.height, 224.0 * 375 / 256);
  EXPECT_DOUBLE_EQ(photo.left, 58.0 * 500 / 341);
  EXPECT_DOUBLE_EQ(photo.width, 224.0 * 500 / 341);

  const Window small = central_window(7, 3, 32);  // becomes 84 x 36
  EXPECT_DOUBLE_EQ(small.top, 26.0 * 7 / 84);
  EXPECT_DOUBLE_EQ(small.left, 2.0 * 3 / 36);
}

void expect_inside(const Window& window, std::int64_t height, std::int64_t width) {
  EXPECT_GE(window.top, 0);
  EXPECT_GE(window.left, 0);
  EXPECT_GT(window.height, 0);
  EXPECT_GT(window.width, 0);
  EXPECT_LE(window.top + window.height, static_cast<double>(height) + 1e-9);
  EXPECT_LE(window.left + window.width, static_cast<double>(width) + 1e-9);
}

TEST(Windows, LieInsideOfAnyImage) {
  for (const std::int64_t height : {1, 2, 7, 100, 5000}) {
    for (const std::int64_t width : {1, 3, 8, 99, 8000}) {
      expect_inside(central_window(height, width, 224), height, width);
      expect_inside(central_window(height, width, 1), height, width);
      for (std::int64_t position = 0; position < 200; ++position) {
        expect_inside(random_window({.seed = 2, .position = position}, height, width), height, width);
      }
    }
  }
}

TEST(RandomWindow, HasTheDistributionsOfAreaAndRatio) {
  constexpr std::int64_t kSide = 1000;  // square, so that few tries fail
  constexpr int kCount = 4000;
  double ratios = 0;
  int mirrored = 0, accepted_small = 0;
  for (std::int64_t position = 0; position < kCount; ++position) {
    const Window window = random_window({.seed = 1, .position = position}, kSide, kSide);
    const double area = window.height * window.width / (kSide * kSide);
    const double ratio = window.width / window.height;
    // Sides are rounded to whole pixels, of about 280 at least.
    constexpr double kRounding = 0.005;
    EXPECT_GE(area, 0.08 * (1 - kRounding));
    EXPECT_LE(area, 1.0);
    EXPECT_GE(ratio, 0.75 * (1 - kRounding));
    EXPECT_LE(ratio, 4.0 / 3 * (1 + kRounding));
    ratios += std::log(ratio) / kCount;
    mirrored += window.is_mirrored ? 1 : 0;
    accepted_small += area < 0.54 ? 1 : 0;
  }
  // Means of so many draws; five deviations each. The logarithm is even in +-0.288: deviation 0.166 / sqrt(4000).
  EXPECT_NEAR(ratios, 0, 0.013);
  EXPECT_NEAR(mirrored, kCount / 2, 160);
  // All areas below 0.75 fit at any ratio, those above at some only: the lower half of the areas comes more often than every
  // second time, by no more than what fails of the upper.
  EXPECT_GT(accepted_small, kCount / 2);
  EXPECT_LT(accepted_small, kCount * 6 / 10);
}

TEST(RandomWindow, OfALongImageIsTheLargestInTheMiddle) {
  const Window wide = random_window({.seed = 1, .position = 0}, 30, 3000);
  EXPECT_EQ(wide.height, 30);
  EXPECT_EQ(wide.width, 40);
  EXPECT_EQ(wide.left, 1480);
  const Window high = random_window({.seed = 1, .position = 0}, 3000, 30);
  EXPECT_EQ(high.height, 40);
  EXPECT_EQ(high.width, 30);
  EXPECT_EQ(high.top, 1480);
}

}  // namespace
}  // namespace minim
