#pragma once

#include "minim/runtime/backend.h"

namespace minim {

/// Adds the optimizer's kernels of the CUDA module to a CUDA backend where they are missing, and returns whether it is one.
bool add_cuda_kernels(Backend& backend);

}  // namespace minim
