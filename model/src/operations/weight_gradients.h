#pragma once

#include "minim/model/operation.h"

namespace minim::operations {

/// Where a product's gradients go: those of parameter 0, and of the bias, parameter 1, where there is one and it is trained.
struct WeightGradients {
  TensorView dw;  ///< absent: neither is trained
  TensorView dbias;
};

/// Kernels always compute dw: where only the bias is trained, it goes to scratch.
inline WeightGradients weight_gradients(PlanContext& context, bool has_bias) {
  WeightGradients gradients{context.weight_gradient(0), has_bias ? context.weight_gradient(1) : TensorView{}};
  if (!gradients.dw.present() && gradients.dbias.present()) {
    gradients.dw = context.saved(0, context.weight(0).dtype(), context.weight(0).shape());
  }
  return gradients;
}

}  // namespace minim::operations
