#pragma once

#include <span>

#include "minim/runtime/kernels/activation.h"
#include "minim/runtime/tensor.h"

namespace minim::onednn {

/// out = sum, or with `accumulate` out += sum: added in FP32, rounded once. `sum` is overwritten; it may be `out` itself when
/// that is fp32 and nothing accumulates.
void store_rounded(std::span<float> sum, TensorView out, bool accumulate);

/// values = activation(values). For results that are rounded already, which changes nothing, and best still in a cache: the ReLU
/// that oneDNN can put into a primitive makes NaN 0.
void activate(TensorView values, Activation activation);

/// out = 0, whatever its type.
void fill_zero(TensorView out);

}  // namespace minim::onednn
