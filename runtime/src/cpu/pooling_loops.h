#pragma once

#include <cstdint>

#include "minim/runtime/dtype.h"
#include "pool_axis.h"

namespace minim::cpu {

/// Pooling over images [height, width, channels].
struct Pooling {
  DType dtype = DType::fp32;
  PoolAxes axes;
  std::int64_t channels = 0;
};

// One row of one image each. `x`, `dy` and `argmax` are the image's, `y` and `dx` the row's; `argmax` may be null in forward.

void max_pool_row(const Pooling& pooling, const void* x, std::int64_t oh, void* y, std::uint8_t* argmax_row);
void max_pool_gradient_row(const Pooling& pooling, const void* dy, const std::uint8_t* argmax, std::int64_t h, void* dx);
void average_pool_row(const Pooling& pooling, const void* x, std::int64_t oh, void* y);
void average_pool_gradient_row(const Pooling& pooling, const void* dy, std::int64_t h, void* dx);

}  // namespace minim::cpu
