#pragma once

#include <functional>

#include "minim/runtime/kernels/activation.h"
#include "minim/runtime/stream.h"
#include "minim/runtime/tensor.h"

namespace minim::cuda {

/// Enqueues what `enqueue` does, which writes y, and then y = activation(y) by a kernel of ours: the ReLUs that cuDNN and
/// cuBLASLt can put into a product make NaN 0, as FP16 on sm_90 showed with cuDNN 9.19, and NaN is what an overflow is known by.
std::function<void(Stream&)> followed_by_activation(std::function<void(Stream&)> enqueue, TensorView y, Activation activation);

}  // namespace minim::cuda
