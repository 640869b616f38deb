#pragma once

#include "minim/runtime/tensor.h"

namespace minim {

/// y = gamma * (x - mean) * rstd + beta, with mean and variance of each row, which is what lies along the last dimension. All is
/// computed in FP32 and y rounded once. Source: Ba, Kiros and Hinton, "Layer normalization", arXiv:1607.06450.
struct LayerNormForward {
  ConstTensorView x;      ///< [..., C], fp32, fp16 or bf16, with C at least 1
  ConstTensorView gamma;  ///< [C], fp32
  ConstTensorView beta;   ///< [C], fp32
  TensorView y;           ///< as x; may be x itself
  TensorView mean;        ///< [rows], fp32, saved for backward
  TensorView rstd;        ///< [rows], fp32, 1 / sqrt(variance + epsilon), saved for backward
  double epsilon = 1e-5;
};

/// dx = rstd * (g - mean of g - n * mean of g n) with g = dy * gamma and n = (x - mean) * rstd, rounded once.
struct LayerNormBackwardData {
  ConstTensorView x;      ///< [..., C]
  ConstTensorView dy;     ///< as x
  ConstTensorView gamma;  ///< [C], fp32
  ConstTensorView mean;   ///< [rows], fp32, from forward
  ConstTensorView rstd;   ///< [rows], fp32, from forward
  TensorView dx;          ///< as x, overwritten; may be dy itself
};

/// dgamma = sum over rows of dy * (x - mean) * rstd, dbeta = sum over rows of dy: in FP32 and always in the same order.
struct LayerNormBackwardWeights {
  ConstTensorView x;        ///< [..., C]
  ConstTensorView dy;       ///< as x
  ConstTensorView mean;     ///< [rows], fp32, from forward
  ConstTensorView rstd;     ///< [rows], fp32, from forward
  TensorView dgamma;        ///< [C], fp32
  TensorView dbeta;         ///< [C], fp32
  bool accumulate = false;  ///< add to dgamma and dbeta
  TensorView workspace;     ///< [bytes], uint8
};

}  // namespace minim
