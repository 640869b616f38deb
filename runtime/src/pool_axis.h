#pragma once

#include <cstdint>

#include "minim/runtime/host_device.h"
#include "minim/runtime/kernels/pooling.h"

/// Which positions of an image a pooling window covers, and which windows cover a position: for the CPU and a GPU alike, hence
/// 32-bit numbers, by which a GPU divides faster.
namespace minim {

/// Positions [begin, end) along one axis, of a window or of the windows that cover a position.
struct Extent {
  std::int32_t begin = 0;
  std::int32_t end = 0;

  MINIM_HOST_DEVICE std::int32_t size() const { return end - begin; }
};

/// One axis of a pooling.
struct PoolAxis {
  std::int32_t size = 0;    ///< of the image
  std::int32_t output = 0;  ///< windows along the axis
  std::int32_t window = 0;
  std::int32_t stride = 0;
  std::int32_t padding = 0;  ///< before the image

  /// The part of window `o` that lies inside the image, in image positions. Never empty.
  MINIM_HOST_DEVICE Extent inside(std::int32_t o) const {
    const std::int32_t first = o * stride - padding;
    const std::int32_t end = first + window;
    return {first < 0 ? 0 : first, end < size ? end : size};
  }
  /// The windows that image position `i` lies in.
  MINIM_HOST_DEVICE Extent covering(std::int32_t i) const {
    const std::int32_t before = i + padding - window;  // windows that start at or before this have ended
    const std::int32_t end = (i + padding) / stride + 1;
    return {before < 0 ? 0 : before / stride + 1, end < output ? end : output};
  }
  /// Where image position `i` lies in window `o`.
  MINIM_HOST_DEVICE std::int32_t position(std::int32_t i, std::int32_t o) const { return i + padding - o * stride; }
};

/// Both axes of a pooling over images.
struct PoolAxes {
  PoolAxis rows;
  PoolAxis columns;
  bool count_padding = false;

  /// What a mean over window (oh, ow) divides by.
  MINIM_HOST_DEVICE float divisor(std::int32_t oh, std::int32_t ow) const {
    const std::int32_t count = count_padding ? rows.window * columns.window : rows.inside(oh).size() * columns.inside(ow).size();
    return static_cast<float>(count);
  }
};

/// How images of shape `x`, [N, H, W, C], are pooled to `y`; of the window, `geometry` says all.
inline PoolAxes pool_axes(const Shape& x, const Shape& y, const PoolGeometry& geometry, bool count_padding = false) {
  const auto axis = [&](int dimension, std::int64_t window, std::int64_t stride, std::int64_t padding) {
    return PoolAxis{.size = static_cast<std::int32_t>(x[dimension]),
                    .output = static_cast<std::int32_t>(y[dimension]),
                    .window = static_cast<std::int32_t>(window),
                    .stride = static_cast<std::int32_t>(stride),
                    .padding = static_cast<std::int32_t>(padding)};
  };
  return {.rows = axis(1, geometry.window_h, geometry.stride_h, geometry.pad_top),
          .columns = axis(2, geometry.window_w, geometry.stride_w, geometry.pad_left),
          .count_padding = count_padding};
}

}  // namespace minim
