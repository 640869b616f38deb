#pragma once

#include "minim/runtime/tensor.h"

namespace minim {

/// What a value is normalised by: s(c) = k + alpha / size * sum of x^2 over the channels c - size / 2 to c + size / 2 that there
/// are.
struct ResponseWindow {
  std::int64_t size = 5;  ///< odd, at most kMaxResponseWindow
  double alpha = 1e-4;
  double beta = 0.75;
  double k = 1;  ///< more than 0

  friend bool operator==(const ResponseWindow&, const ResponseWindow&) = default;
};
inline constexpr std::int64_t kMaxResponseWindow = 31;

/// y = x * s^-beta, computed in FP32, rounded once.
/// Source: Krizhevsky et al., "ImageNet classification with deep convolutional neural networks", NIPS 2012, section 3.3, with
/// alpha divided by the window's size as in Caffe and PyTorch.
struct LocalResponseNormForward {
  ConstTensorView x;  ///< [..., C]
  TensorView y;       ///< as x
  ResponseWindow window;
};

/// dx(c) = dy(c) s(c)^-beta - 2 alpha beta / size * x(c) * sum of dy x s^(-beta - 1) over the window around c.
struct LocalResponseNormBackward {
  ConstTensorView x;   ///< [..., C]
  ConstTensorView dy;  ///< as x
  TensorView dx;       ///< as x, overwritten
  ResponseWindow window;
};

}  // namespace minim
