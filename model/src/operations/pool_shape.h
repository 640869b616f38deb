#pragma once

#include <span>

#include "minim/model/operation.h"
#include "minim/runtime/kernels/pooling.h"

namespace minim::operations {

/// What pooling makes of its one input [N, H, W, C]. Throws InvalidArgument where the window does not fit.
ValueSpec pooled(std::span<const ValueSpec> inputs, const PoolGeometry& geometry);

/// One comparison or addition per element of every window.
double window_flops(const ConstTensorView& y, const PoolGeometry& geometry);

}  // namespace minim::operations
