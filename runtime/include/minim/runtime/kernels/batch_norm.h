#pragma once

#include "minim/runtime/kernels/activation.h"
#include "minim/runtime/tensor.h"

namespace minim {

/// What the statistics of several ranks together are made of: this rank's part. Gathered from all ranks before BatchNormForward.
struct BatchNormMoments {
  ConstTensorView x;              ///< [N, ..., C], fp32, fp16 or bf16
  ConstTensorView valid_samples;  ///< as of BatchNormForward
  /// [2 C + 1], fp32: means, sums of squared deviations from them, and how many values of each channel these cover, perhaps none.
  TensorView moments;
  TensorView workspace;
};

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
  ConstTensorView moments;        ///< [ranks, 2 C + 1], fp32: the statistics are those of all ranks; may be absent: of x
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

/// What BatchNormBackward needs to know of several ranks together: this rank's part. And the gradients of the parameters, which
/// remain each rank's own.
struct BatchNormSums {
  ConstTensorView x;      ///< this and what follows as of BatchNormBackward
  ConstTensorView dy;     ///< as x
  ConstTensorView gamma;  ///< [C], fp32
  ConstTensorView beta;   ///< [C], fp32
  ConstTensorView mean;   ///< [C], fp32
  ConstTensorView rstd;   ///< [C], fp32
  TensorView dgamma;      ///< [C], fp32
  TensorView dbeta;       ///< [C], fp32
  TensorView sums;        ///< [2 C + 1], fp32: of dy, of dy * (x - mean), and how many values of each channel these cover
  Activation activation = Activation::none;
  ConstTensorView valid_samples;
  bool accumulate = false;  ///< add to dgamma and dbeta
  TensorView workspace;
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
  TensorView dgamma;                         ///< [C], fp32; not touched where there are `sums`
  TensorView dbeta;                          ///< [C], fp32; not touched where there are `sums`
  Activation activation = Activation::none;  ///< as in forward
  ConstTensorView valid_samples;             ///< as in forward
  ConstTensorView sums;                      ///< [ranks, 2 C + 1], fp32: BatchNormSums of all ranks; may be absent: those of x
  bool accumulate = false;                   ///< add to dgamma and dbeta
  TensorView workspace;
};

}  // namespace minim
