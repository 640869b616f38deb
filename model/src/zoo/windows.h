#pragma once

#include <algorithm>

#include "minim/model/graph.h"

namespace minim::zoo {

/// A square window that slides by `stride` over an image with `padding` on all four sides.
inline Conv2dGeometry square_geometry(std::int64_t stride, std::int64_t padding) {
  return {.stride_h = stride,
          .stride_w = stride,
          .pad_top = padding,
          .pad_left = padding,
          .pad_bottom = padding,
          .pad_right = padding};
}

inline PoolGeometry square_pool(std::int64_t window, std::int64_t stride, std::int64_t padding = 0) {
  return {.window_h = window,
          .window_w = window,
          .stride_h = stride,
          .stride_w = stride,
          .pad_top = padding,
          .pad_left = padding,
          .pad_bottom = padding,
          .pad_right = padding};
}

/// A square pool, no larger than the image.
inline PoolGeometry fitting_pool(const Shape& x, std::int64_t window, std::int64_t stride) {
  PoolGeometry pool = square_pool(window, stride);
  pool.window_h = std::min(window, x[1]);
  pool.window_w = std::min(window, x[2]);
  return pool;
}

/// A square pool with ceil(size / stride) rows and columns of output, whatever the size; what padding does not divide evenly is
/// at the bottom and right.
inline PoolGeometry same_pool(const Shape& x, std::int64_t window, std::int64_t stride) {
  const auto padding = [=](std::int64_t size) {
    return std::max<std::int64_t>(0, ((size - 1) / stride) * stride + window - size);
  };
  PoolGeometry pool = square_pool(window, stride);
  pool.pad_top = padding(x[1]) / 2;
  pool.pad_bottom = padding(x[1]) - pool.pad_top;
  pool.pad_left = padding(x[2]) / 2;
  pool.pad_right = padding(x[2]) - pool.pad_left;
  return pool;
}

}  // namespace minim::zoo
