#pragma once

#include <algorithm>
#include <cstdint>

#include "minim/runtime/dtype.h"
#include "minim/runtime/kernels/pooling.h"

namespace minim::cpu {

/// Positions [begin, end) along one axis, of a window or of the windows that cover a position.
struct Extent {
  std::int64_t begin = 0;
  std::int64_t end = 0;

  std::int64_t size() const { return end - begin; }
};

/// One axis of a pooling.
struct PoolAxis {
  std::int64_t size = 0;    ///< of the image
  std::int64_t output = 0;  ///< windows along the axis
  std::int64_t window = 0;
  std::int64_t stride = 0;
  std::int64_t padding = 0;  ///< before the image

  /// The part of window `o` that lies inside the image, in image positions. Never empty.
  Extent inside(std::int64_t o) const {
    const std::int64_t first = o * stride - padding;
    return {std::max<std::int64_t>(first, 0), std::min(first + window, size)};
  }
  /// The windows that image position `i` lies in.
  Extent covering(std::int64_t i) const {
    const std::int64_t before = i + padding - window;  // windows that start at or before this have ended
    return {before < 0 ? 0 : before / stride + 1, std::min((i + padding) / stride + 1, output)};
  }
  /// Where image position `i` lies in window `o`.
  std::int64_t position(std::int64_t i, std::int64_t o) const { return i + padding - o * stride; }
};

/// Pooling over images [height, width, channels].
struct Pooling {
  DType dtype = DType::fp32;
  PoolAxis rows;
  PoolAxis columns;
  std::int64_t channels = 0;
  bool count_padding = false;

  float divisor(std::int64_t oh, std::int64_t ow) const {
    return static_cast<float>(count_padding ? rows.window * columns.window : rows.inside(oh).size() * columns.inside(ow).size());
  }
};

// One row of one image each. `x`, `dy` and `argmax` are the image's, `y` and `dx` the row's; `argmax` may be null in forward.

void max_pool_row(const Pooling& pooling, const void* x, std::int64_t oh, void* y, std::uint8_t* argmax_row);
void max_pool_gradient_row(const Pooling& pooling, const void* dy, const std::uint8_t* argmax, std::int64_t h, void* dx);
void average_pool_row(const Pooling& pooling, const void* x, std::int64_t oh, void* y);
void average_pool_gradient_row(const Pooling& pooling, const void* dy, std::int64_t h, void* dx);

}  // namespace minim::cpu
