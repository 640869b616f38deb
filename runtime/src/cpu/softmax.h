#pragma once

#include <cstdint>

#include "minim/runtime/dtype.h"

namespace minim::cpu {

/// The logits of one sample and what they should say.
struct SoftmaxRow {
  DType dtype = DType::fp32;
  const void* logits = nullptr;
  std::int64_t classes = 0;
  std::int64_t label = 0;
  double label_smoothing = 0;
};

struct SoftmaxLoss {
  double loss = 0;
  float log_sum_exp = 0;
  bool correct = false;  ///< the label's is the first of the largest logits, and none is NaN
};

/// Loss of one sample, in FP32. Sums have two levels, so that an error grows with 32 + classes / 32 at most.
SoftmaxLoss softmax_loss(const SoftmaxRow& row);

/// dlogits = (softmax - target) * factor, in FP32, rounded once.
void softmax_gradient(const SoftmaxRow& row, float log_sum_exp, float factor, void* dlogits);

}  // namespace minim::cpu
