#pragma once

#include "minim/runtime/backend.h"

namespace minim {

/// Plain loops with FP64 sums for every kernel.
void add_reference_kernels(Backend& backend);
/// Vectorised loops over FP16, BF16 and FP32 storage, dispatched at run time.
void add_vector_kernels(Backend& backend);
/// Convolutions and matrix products on oneDNN, with FP16 converted chunk by chunk.
/// For streams of `threads` OpenMP threads.
void add_onednn_kernels(Backend& backend, int threads);

}  // namespace minim
