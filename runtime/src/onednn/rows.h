#pragma once

#include "minim/runtime/kernels/activation.h"
#include "minim/runtime/tensor.h"

/// Tensors as rows of their last dimension.
namespace minim::onednn {

/// out[j] = sum over rows of rows[., j], or with `accumulate` added to it: in FP32, rounded once.
void sum_rows(ConstTensorView rows, TensorView out, bool accumulate);

/// Every row of `out` = activation(`row`), of the same type; 0 where it is absent.
void fill_rows(ConstTensorView row, TensorView out, Activation activation);

}  // namespace minim::onednn
