#pragma once

#include <cstdint>

#include "minim/runtime/dtype.h"

namespace minim::cpu {

/// y = max(x, 0) over `n` elements; NaN stays. y may be x.
void relu_forward(DType dtype, const void* x, void* y, std::int64_t n);
/// dx = dy where y > 0, else 0. dx may be dy.
void relu_backward(DType dtype, const void* y, const void* dy, void* dx, std::int64_t n);

}  // namespace minim::cpu
