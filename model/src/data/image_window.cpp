#include "data/image_window.h"

#include <algorithm>
#include <cmath>

#include "data/sample_random.h"

namespace minim {
namespace {

constexpr double kLeastArea = 0.08;
constexpr double kLeastRatio = 3.0 / 4, kMostRatio = 4.0 / 3;  // width / height
constexpr std::uint32_t kTries = 10;

double whole(double pixels) { return std::nearbyint(pixels); }

}  // namespace

Window central_window(std::int64_t height, std::int64_t width, std::int64_t size) {
  const std::int64_t shorter = std::min(height, width);
  const std::int64_t resized_shorter = size * 256 / 224;
  const auto resized = [&](std::int64_t side) { return static_cast<double>(resized_shorter * side / shorter); };
  const double rows = resized(height), columns = resized(width), shown = static_cast<double>(size);
  const double down = static_cast<double>(height) / rows, across = static_cast<double>(width) / columns;
  return {.top = whole((rows - shown) / 2) * down,
          .left = whole((columns - shown) / 2) * across,
          .height = shown * down,
          .width = shown * across};
}

Window random_window(const SampleKey& key, std::int64_t height, std::int64_t width) {
  const auto rows = static_cast<double>(height), columns = static_cast<double>(width);
  const bool is_mirrored = below(2, random_words(key, 0)[0]) == 1;
  for (std::uint32_t attempt = 1; attempt <= kTries; ++attempt) {
    const auto words = random_words(key, attempt);
    const double area = rows * columns * (kLeastArea + (1 - kLeastArea) * static_cast<double>(uniform(words[0])));
    const double ratio = kLeastRatio * std::pow(kMostRatio / kLeastRatio, static_cast<double>(uniform(words[1])));
    const double w = whole(std::sqrt(area * ratio)), h = whole(std::sqrt(area / ratio));
    if (w < 1 || w > columns || h < 1 || h > rows) continue;
    return {.top = static_cast<double>(below(height - static_cast<std::int64_t>(h) + 1, words[2])),
            .left = static_cast<double>(below(width - static_cast<std::int64_t>(w) + 1, words[3])),
            .height = h,
            .width = w,
            .is_mirrored = is_mirrored};
  }
  const double h = std::clamp(whole(columns / kLeastRatio), 1.0, rows);
  const double w = std::clamp(whole(rows * kMostRatio), 1.0, columns);
  return {.top = std::floor((rows - h) / 2),
          .left = std::floor((columns - w) / 2),
          .height = h,
          .width = w,
          .is_mirrored = is_mirrored};
}

}  // namespace minim
