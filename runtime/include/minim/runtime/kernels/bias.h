#pragma once

#include "minim/runtime/tensor.h"

namespace minim {

/// y += bias along the last dimension, added in FP32 and rounded: for results of kernels that take no bias along.
struct AddBias {
  ConstTensorView bias;  ///< [C], as y
  TensorView y;          ///< [..., C], fp32, fp16 or bf16, read and written
};

/// dbias = sum of dy over all but the last dimension, in FP32, rounded once.
struct BiasGradient {
  ConstTensorView dy;       ///< [..., C]
  TensorView dbias;         ///< [C], as dy
  bool accumulate = false;  ///< add to dbias, before rounding
  TensorView workspace;     ///< [bytes], uint8
};

}  // namespace minim
