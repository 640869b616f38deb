#include "data/bitmap.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace minim {
namespace {

/// What a row or column of an image is made of: `weights` of pixels from `first` on.
struct Taps {
  std::int64_t first;
  std::vector<float> weights;
};

/// Of `size` output pixels along an axis that look at [from, from + extent) of `available` pixels.
std::vector<Taps> taps_of(std::int64_t available, double from, double extent, std::int64_t size) {
  const double scale = extent / static_cast<double>(size);
  const double reach = std::max(scale, 1.0);
  std::vector<Taps> all(static_cast<std::size_t>(size));
  for (std::int64_t i = 0; i < size; ++i) {
    const double centre = from + (static_cast<double>(i) + 0.5) * scale;
    const auto first = std::clamp<std::int64_t>(std::llround(centre - reach), 0, available - 1);
    const auto end = std::clamp<std::int64_t>(std::llround(centre + reach), first + 1, available);
    std::vector<double> weights;
    double sum = 0;
    for (std::int64_t p = first; p < end; ++p) {
      weights.push_back(std::max(0.0, 1 - std::abs(static_cast<double>(p) + 0.5 - centre) / reach));
      sum += weights.back();
    }
    Taps& taps = all[static_cast<std::size_t>(i)];
    taps.first = first;
    for (const double weight : weights) taps.weights.push_back(static_cast<float>(weight / sum));
  }
  return all;
}

/// A row of the bitmap, resampled along the row.
template <int channels>
void resample_row(const std::uint8_t* row, const std::vector<Taps>& columns, float* out) {
  for (const Taps& taps : columns) {
    float sums[channels] = {};
    const std::uint8_t* pixel = row + taps.first * channels;
    for (const float weight : taps.weights) {
      for (int c = 0; c < channels; ++c) sums[c] += weight * static_cast<float>(pixel[c]);
      pixel += channels;
    }
    for (int c = 0; c < channels; ++c) out[c] = sums[c];
    out += channels;
  }
}

}  // namespace

Bitmap with_channels(Bitmap bitmap, std::int64_t channels) {
  if (bitmap.channels == channels) return bitmap;
  Bitmap result{.height = bitmap.height, .width = bitmap.width, .channels = channels, .pixels = {}};
  const auto count = static_cast<std::size_t>(bitmap.height * bitmap.width);
  result.pixels.resize(count * static_cast<std::size_t>(channels));
  const std::uint8_t* from = bitmap.pixels.data();
  std::uint8_t* to = result.pixels.data();
  for (std::size_t i = 0; i < count; ++i) {
    if (channels == 3) {
      to[3 * i] = to[3 * i + 1] = to[3 * i + 2] = from[i];
    } else {
      to[i] = static_cast<std::uint8_t>((299 * from[3 * i] + 587 * from[3 * i + 1] + 114 * from[3 * i + 2] + 500) / 1000);
    }
  }
  return result;
}

void resample(const Bitmap& bitmap, const Window& window, std::int64_t height, std::int64_t width, std::span<float> image) {
  const auto rows = taps_of(bitmap.height, window.top, window.height, height);
  auto columns = taps_of(bitmap.width, window.left, window.width, width);
  if (window.is_mirrored) std::reverse(columns.begin(), columns.end());

  const std::int64_t first = rows.front().first;
  const std::int64_t end = rows.back().first + static_cast<std::int64_t>(rows.back().weights.size());
  const auto row_elements = static_cast<std::size_t>(width * bitmap.channels);
  std::vector<float> narrowed(static_cast<std::size_t>(end - first) * row_elements);
  for (std::int64_t y = first; y < end; ++y) {
    const std::uint8_t* row = bitmap.pixels.data() + y * bitmap.width * bitmap.channels;
    float* out = narrowed.data() + static_cast<std::size_t>(y - first) * row_elements;
    bitmap.channels == 3 ? resample_row<3>(row, columns, out) : resample_row<1>(row, columns, out);
  }
  std::fill(image.begin(), image.end(), 0.0F);
  for (std::size_t y = 0; y < rows.size(); ++y) {
    float* out = image.data() + y * row_elements;
    const float* in = narrowed.data() + static_cast<std::size_t>(rows[y].first - first) * row_elements;
    for (const float weight : rows[y].weights) {
      for (std::size_t i = 0; i < row_elements; ++i) out[i] += weight * in[i];
      in += row_elements;
    }
  }
}

}  // namespace minim
