#pragma once

#include "minim/runtime/kernels/activation.h"
#include "minim/runtime/tensor.h"

namespace minim {

/// y = activation(x w^T + bias), accumulated in FP32, rounded once on store.
struct LinearForward {
  ConstTensorView x;     ///< [N, I]
  ConstTensorView w;     ///< [O, I], as x
  ConstTensorView bias;  ///< [O], as x; may be absent
  TensorView y;          ///< [N, O], as x
  Activation activation = Activation::none;
  TensorView workspace;  ///< [bytes], uint8
};

/// dx = dy w.
struct LinearBackwardData {
  ConstTensorView dy;  ///< [N, O]
  ConstTensorView w;   ///< [O, I]
  TensorView dx;       ///< [N, I], overwritten
  TensorView workspace;
};

/// dw = dy^T x, dbias = sum of dy over samples, in FP32, rounded once. With `accumulate` the old values are added before
/// rounding.
struct LinearBackwardWeights {
  ConstTensorView x;   ///< [N, I]
  ConstTensorView dy;  ///< [N, O]
  TensorView dw;       ///< [O, I]
  TensorView dbias;    ///< [O]; may be absent
  bool accumulate = false;
  TensorView workspace;
};

}  // namespace minim
