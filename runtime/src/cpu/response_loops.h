#pragma once

#include "minim/runtime/dtype.h"
#include "minim/runtime/kernels/local_response_norm.h"

namespace minim::cpu {

/// Local response normalisation of `rows` rows of `channels` elements.
void normalize_responses(DType dtype, const ResponseWindow& window, std::int64_t rows, std::int64_t channels, const void* x,
                         void* y);
/// Its gradient.
void normalize_responses_backward(DType dtype, const ResponseWindow& window, std::int64_t rows, std::int64_t channels,
                                  const void* x, const void* dy, void* dx);

}  // namespace minim::cpu
