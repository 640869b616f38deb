#pragma once

#include "minim/runtime/tensor.h"

namespace minim {

/// Softmax cross-entropy against integer labels, computed in FP32 from logits of any floating type.
/// With label smoothing s over K classes the target is (1 - s) on the label plus s / K everywhere.
struct SoftmaxCrossEntropyForward {
  ConstTensorView logits;          ///< [N, K], fp32, fp16 or bf16
  ConstTensorView labels;          ///< [N], int32, in [0, K) for every valid sample
  ConstTensorView sample_weights;  ///< [N], fp32; may be absent: all 1
  ConstTensorView valid_samples;   ///< [1], int32: samples from there on are padding; may be absent: all count
  TensorView log_sum_exp;          ///< [N], fp32, saved for backward
  TensorView loss;                 ///< [1], fp32: sum of weight * loss over samples
  TensorView weight;               ///< [1], fp32: sum of weights
  TensorView correct;              ///< [1], fp32: sum of weights of samples whose first largest logit is the label's; none with NaN
  double label_smoothing = 0;
  bool accumulate = false;         ///< add to loss, weight and correct instead of overwriting them
  TensorView workspace;            ///< [bytes], uint8
};

/// dlogits = weight * (softmax - target) * loss_scale / nominal_weight, computed in FP32 and rounded once.
/// Padding samples get 0.
struct SoftmaxCrossEntropyBackward {
  ConstTensorView logits;
  ConstTensorView labels;
  ConstTensorView sample_weights;
  ConstTensorView valid_samples;
  ConstTensorView log_sum_exp;
  ConstTensorView loss_scale;  ///< [1], fp32: S
  double nominal_weight = 1;   ///< n0: one rank's weight per step over all micro-batches when every sample is there
  double label_smoothing = 0;
  TensorView dlogits;          ///< as logits
};

}  // namespace minim
