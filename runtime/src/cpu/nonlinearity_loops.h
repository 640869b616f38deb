#pragma once

#include "minim/runtime/dtype.h"
#include "minim/runtime/kernels/nonlinearity.h"

namespace minim::cpu {

/// y = function(x) over `n` elements. y may be x.
void nonlinearity(const Nonlinearity& function, DType dtype, const void* x, void* y, std::int64_t n);
/// dx = dy * function' from x or y, as the function wants. dx may be dy.
void nonlinearity_gradient(const Nonlinearity& function, DType dtype, const void* value, const void* dy, void* dx,
                           std::int64_t n);

}  // namespace minim::cpu
