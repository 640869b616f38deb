#pragma once

#include "minim/runtime/tensor.h"

namespace minim {

struct PoolGeometry {
  std::int64_t window_h = 2, window_w = 2;
  std::int64_t stride_h = 2, stride_w = 2;
  std::int64_t pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;  ///< smaller than the window
};

/// y = largest value in each window; padding never wins; NaN wins. `argmax` remembers where, first place among equals.
struct MaxPoolForward {
  ConstTensorView x;  ///< [N, H, W, C]
  TensorView y;       ///< [N, OH, OW, C]
  TensorView argmax;  ///< [N, OH, OW, C], uint8: row-major position inside the window, of at most 255 elements; may be absent
  PoolGeometry geometry;
};

/// dx = the sum of dy over the windows that a position won, added in FP32, rounded once.
struct MaxPoolBackward {
  ConstTensorView dy;      ///< [N, OH, OW, C]
  ConstTensorView argmax;  ///< as dy, uint8
  TensorView dx;           ///< [N, H, W, C], overwritten
  PoolGeometry geometry;
};

/// y = mean over each window, in FP32. With `count_padding` the divisor is the window's size, else the part inside the image.
struct AveragePoolForward {
  ConstTensorView x;  ///< [N, H, W, C]
  TensorView y;       ///< [N, OH, OW, C]
  PoolGeometry geometry;
  bool count_padding = false;
};

struct AveragePoolBackward {
  ConstTensorView dy;  ///< [N, OH, OW, C]
  TensorView dx;       ///< [N, H, W, C], overwritten
  PoolGeometry geometry;
  bool count_padding = false;
};

/// y = mean over all positions, summed in FP32.
struct GlobalAveragePoolForward {
  ConstTensorView x;  ///< [N, H, W, C]
  TensorView y;       ///< [N, C]
};

struct GlobalAveragePoolBackward {
  ConstTensorView dy;  ///< [N, C]
  TensorView dx;       ///< [N, H, W, C], overwritten
};

}  // namespace minim
