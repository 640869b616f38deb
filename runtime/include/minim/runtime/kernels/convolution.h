#pragma once

#include "minim/runtime/kernels/activation.h"
#include "minim/runtime/tensor.h"

namespace minim {

/// How a window slides over an image.
struct Conv2dGeometry {
  std::int64_t stride_h = 1, stride_w = 1;
  std::int64_t pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;  ///< zeros around the image
  std::int64_t dilation_h = 1, dilation_w = 1;                            ///< 1: no holes
  std::int64_t groups = 1;

  friend bool operator==(const Conv2dGeometry&, const Conv2dGeometry&) = default;
};

/// y = activation(conv(x, w) + bias): cross-correlation with FP32 accumulation, rounded once on store.
struct Conv2dForward {
  ConstTensorView x;     ///< [N, H, W, C]
  ConstTensorView w;     ///< [O, KH, KW, C / groups], as x
  ConstTensorView bias;  ///< [O], as x; may be absent
  TensorView y;          ///< [N, OH, OW, O], as x
  Conv2dGeometry geometry;
  Activation activation = Activation::none;
  TensorView workspace;  ///< [bytes], uint8
};

/// dx = conv^T(dy, w).
struct Conv2dBackwardData {
  ConstTensorView dy;  ///< [N, OH, OW, O]
  ConstTensorView w;   ///< [O, KH, KW, C / groups]
  TensorView dx;       ///< [N, H, W, C], overwritten
  Conv2dGeometry geometry;
  TensorView workspace;
};

/// dw = sum over samples and positions of x dy, in FP32, rounded once. With `accumulate` the old dw is added before rounding; on
/// CUDA devices to the rounded sum, and the result rounded again.
struct Conv2dBackwardWeights {
  ConstTensorView x;   ///< [N, H, W, C]
  ConstTensorView dy;  ///< [N, OH, OW, O]
  TensorView dw;       ///< [O, KH, KW, C / groups]
  TensorView dbias;    ///< [O]; may be absent
  Conv2dGeometry geometry;
  bool accumulate = false;
  TensorView workspace;
};

/// Spatial size of the output: floor((size + padding - dilation * (kernel - 1) - 1) / stride) + 1; 0 where the window does not
/// fit.
constexpr std::int64_t conv_output_size(std::int64_t size, std::int64_t kernel, std::int64_t stride, std::int64_t padding,
                                        std::int64_t dilation) {
  const std::int64_t room = size + padding - dilation * (kernel - 1) - 1;
  return room < 0 ? 0 : room / stride + 1;
}

}  // namespace minim
