#include "operations/pool_shape.h"

#include <fmt/format.h>

#include <algorithm>

#include "minim/runtime/error.h"
#include "operations/expect.h"

namespace minim::operations {

ValueSpec pooled(std::span<const ValueSpec> inputs, const PoolGeometry& geometry) {
  const PoolGeometry& g = geometry;
  expect_inputs(inputs, 1);
  expect_floating(inputs[0]);
  expect_rank(inputs[0], 4, "[N, H, W, C]");
  if (std::min({g.pad_top, g.pad_left, g.pad_bottom, g.pad_right}) < 0 || std::max(g.pad_top, g.pad_bottom) >= g.window_h ||
      std::max(g.pad_left, g.pad_right) >= g.window_w) {
    throw InvalidArgument(
        fmt::format("padding {}, {}, {}, {} (top, left, bottom, right), wanted 0 or more and less than the window {} x {}",
                    g.pad_top, g.pad_left, g.pad_bottom, g.pad_right, g.window_h, g.window_w));
  }
  const Shape& x = inputs[0].shape;
  const std::int64_t h = window_output(x, "height", x[1], g.window_h, g.stride_h, g.pad_top + g.pad_bottom);
  const std::int64_t w = window_output(x, "width", x[2], g.window_w, g.stride_w, g.pad_left + g.pad_right);
  return {Shape{x[0], h, w, x[3]}, inputs[0].element};
}

double window_flops(const ConstTensorView& y, const PoolGeometry& geometry) {
  return static_cast<double>(y.elements()) * static_cast<double>(geometry.window_h * geometry.window_w);
}

}  // namespace minim::operations
