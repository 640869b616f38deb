#pragma once

#include "minim/runtime/kernels/activation.h"
#include "minim/runtime/tensor.h"

namespace minim {

/// y = activation(gamma * (x - mean) * rstd + beta + addend), with mean and variance over all but the channel dimension of the
/// valid samples. All is computed in FP32 and y rounded once. Padding samples get y = 0. Without valid samples nothing else is
/// written. Source: Ioffe and Szegedy, "Batch Normalization", arXiv:1502.03167, algorithm 1.
struct BatchNormForward {
  ConstTensorView x;       ///< [N, ..., C], fp32, fp16 or bf16
  ConstTensorView gamma;   ///< [C], fp32
  ConstTensorView beta;    ///< [C], fp32
  ConstTensorView addend;  ///< as x; may be absent
  TensorView y;            ///< as x
  TensorView mean;         ///< [C], fp32, saved for backward
  TensorView rstd;         ///< [C], fp32, 1 / sqrt(variance + epsilon), saved for backward
  /// [C], fp32, read and written: running = (1 - momentum) * running + momentum * batch; unbiased variance as is usual; may be
  /// absent.
  TensorView running_mean;
  TensorView running_variance;
  double momentum = 0.1;
  double epsilon = 1e-5;
  Activation activation = Activation::none;
  ConstTensorView valid_samples;  ///< [1], int32: how many of the N samples count, the rest is padding; may be absent: all
  TensorView workspace;           ///< [bytes], uint8
};

/// y = activation(gamma * (x - mean) / sqrt(variance + epsilon) + beta + addend) with given statistics.
struct BatchNormInference {
  ConstTensorView x;         ///< [N, ..., C]
  ConstTensorView gamma;     ///< [C], fp32
  ConstTensorView beta;      ///< [C], fp32
  ConstTensorView mean;      ///< [C], fp32
  ConstTensorView variance;  ///< [C], fp32
  ConstTensorView addend;    ///< as x; may be absent
  TensorView y;              ///< as x
  double epsilon = 1e-5;
  Activation activation = Activation::none;
};

/// Gradients of BatchNormForward without addend. Where it had an activation, dy counts where the forward pass stored y > 0, which
/// is found by computing it again. Padding samples get dx = 0 and contribute nothing.
struct BatchNormBackward {
  ConstTensorView x;                         ///< [N, ..., C]
  ConstTensorView dy;                        ///< as x
  ConstTensorView gamma;                     ///< [C], fp32
  ConstTensorView beta;                      ///< [C], fp32
  ConstTensorView mean;                      ///< [C], fp32, from forward
  ConstTensorView rstd;                      ///< [C], fp32, from forward
  TensorView dx;                             ///< as x, overwritten; may be dy itself
  TensorView dgamma;                         ///< [C], fp32
  TensorView dbeta;                          ///< [C], fp32
  Activation activation = Activation::none;  ///< as in forward
  ConstTensorView valid_samples;             ///< as in forward
  bool accumulate = false;                   ///< add to dgamma and dbeta
  TensorView workspace;
};

}  // namespace minim
