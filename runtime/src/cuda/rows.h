#pragma once

#include <functional>

#include "minim/runtime/stream.h"
#include "minim/runtime/tensor.h"

/// Tensors as rows of their last dimension.
namespace minim::cuda {

/// Enqueues out[j] = sum over rows of rows[., j], or with `accumulate` added to it: in FP32 and always in the same order, rounded
/// once.
std::function<void(Stream&)> make_sum_rows(ConstTensorView rows, TensorView out, bool accumulate, TensorView workspace);
std::int64_t sum_rows_workspace_bytes(ConstTensorView rows);

/// Enqueues that every row of `out` becomes `row`, of the same type; 0 where it is absent.
std::function<void(Stream&)> make_fill_rows(ConstTensorView row, TensorView out);

/// Enqueues out = 0, whatever its type.
std::function<void(Stream&)> make_fill_zero(TensorView out);

}  // namespace minim::cuda
