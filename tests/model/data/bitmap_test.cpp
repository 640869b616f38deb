#include "data/bitmap.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace minim {
namespace {

Bitmap noise(std::int64_t height, std::int64_t width, std::int64_t channels) {
  Bitmap bitmap{.height = height, .width = width, .channels = channels, .pixels = {}};
  std::uint32_t state = 1;
  for (std::int64_t i = 0; i < height * width * channels; ++i) {
    state = state * 1664525 + 1013904223;  // Numerical Recipes' generator
    bitmap.pixels.push_back(static_cast<std::uint8_t>(state >> 24U));
  }
  return bitmap;
}

/// Weight of pixel `p` for output pixel `i` of `size` that look at [from, from + extent): a triangle, not yet normalised.
double weight(std::int64_t p, double from, double extent, std::int64_t i, std::int64_t size) {
  const double scale = extent / static_cast<double>(size);
  const double centre = from + (static_cast<double>(i) + 0.5) * scale;
  return std::max(0.0, 1 - std::abs(static_cast<double>(p) + 0.5 - centre) / std::max(scale, 1.0));
}

/// One value of what a window shows: the whole sum in two dimensions, in FP64.
double expected(const Bitmap& bitmap, const Window& window, std::int64_t height, std::int64_t width, std::int64_t y,
                std::int64_t x, std::int64_t c) {
  const std::int64_t column = window.is_mirrored ? width - 1 - x : x;
  double sum = 0, weights = 0;
  for (std::int64_t from_y = 0; from_y < bitmap.height; ++from_y) {
    for (std::int64_t from_x = 0; from_x < bitmap.width; ++from_x) {
      const double w =
          weight(from_y, window.top, window.height, y, height) * weight(from_x, window.left, window.width, column, width);
      const auto at = static_cast<std::size_t>((from_y * bitmap.width + from_x) * bitmap.channels + c);
      sum += w * bitmap.pixels[at];
      weights += w;
    }
  }
  return sum / weights;
}

/// FP32 sums of some hundred products of values up to 255, each rounding at most 2^-24 of it.
constexpr double kRounding = 1e-3;

TEST(Resample, IsTheSumOverATriangleInBothDirections) {
  struct Case {
    std::int64_t height, width;  ///< of the bitmap
    Window window;
    std::int64_t out_height, out_width;
  };
  const Case cases[] = {
      {20, 30, {0, 0, 20, 30}, 10, 10},
      {20, 30, {0, 0, 20, 30}, 40, 45},
      {20, 30, {3, 4, 10, 12}, 10, 12},
      {
          20,
          30,
          {3.3, 4.7, 9.1, 20.9},
          7,
          9,
      },
      {20, 30, {3.3, 4.7, 9.1, 20.9, true}, 7, 9},
      {20, 30, {0, 0, 20, 30, true}, 33, 8},
      {1, 1, {0, 0, 1, 1}, 5, 4},
      {1, 50, {0, 20, 1, 1}, 3, 3},
      {40, 3, {0, 0, 40, 3}, 2, 6},
      {17, 13, {16, 12, 1, 1}, 4, 4},
  };
  for (const std::int64_t channels : {1, 3}) {
    for (const Case& c : cases) {
      const Bitmap bitmap = noise(c.height, c.width, channels);
      std::vector<float> image(static_cast<std::size_t>(c.out_height * c.out_width * channels));
      resample(bitmap, c.window, c.out_height, c.out_width, image);
      std::size_t i = 0;
      for (std::int64_t y = 0; y < c.out_height; ++y) {
        for (std::int64_t x = 0; x < c.out_width; ++x) {
          for (std::int64_t channel = 0; channel < channels; ++channel, ++i) {
            ASSERT_NEAR(image[i], expected(bitmap, c.window, c.out_height, c.out_width, y, x, channel), kRounding)
                << c.height << " x " << c.width << " to " << c.out_height << " x " << c.out_width << " at " << y << ", " << x;
          }
        }
      }
    }
  }
}

TEST(Resample, LeavesWholePixelsAsTheyAre) {
  const Bitmap bitmap = noise(9, 7, 3);
  std::vector<float> image(4 * 5 * 3);
  resample(bitmap, {.top = 2, .left = 1, .height = 4, .width = 5}, 4, 5, image);
  for (std::size_t i = 0; i < image.size(); ++i) {
    const std::size_t y = i / 15 + 2, x = i / 3 % 5 + 1;
    EXPECT_EQ(image[i], bitmap.pixels[(y * 7 + x) * 3 + i % 3]);
  }
}

TEST(Bitmap, BecomesGreyByLumaAndColouredByRepetition) {
  const Bitmap colours{
      .height = 1, .width = 5, .channels = 3, .pixels = {255, 0, 0, 0, 255, 0, 0, 0, 255, 7, 7, 7, 255, 255, 255}};
  const Bitmap grey = with_channels(colours, 1);
  EXPECT_EQ(grey.pixels, (std::vector<std::uint8_t>{76, 150, 29, 7, 255}));  // 255 * 0.299, 0.587, 0.114
  EXPECT_EQ(grey.width, 5);
  EXPECT_EQ(with_channels(colours, 3).pixels, colours.pixels);
  EXPECT_EQ(with_channels({.height = 2, .width = 1, .channels = 1, .pixels = {3, 9}}, 3).pixels,
            (std::vector<std::uint8_t>{3, 3, 3, 9, 9, 9}));
}

}  // namespace
}  // namespace minim
