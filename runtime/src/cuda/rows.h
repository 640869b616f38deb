#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>

#include "minim/runtime/stream.h"
#include "minim/runtime/tensor.h"

/// Tensors as rows of their last dimension.
namespace minim::cuda {

/// Enqueues out[j] = sum over rows of rows[., j], or with `accumulate` added to it: in FP32 and always in the same order, rounded
/// once.
std::function<void(Stream&)> make_sum_rows(ConstTensorView rows, TensorView out, bool accumulate, TensorView workspace);
std::int64_t sum_rows_workspace_bytes(ConstTensorView rows);

/// The workspace of a product that takes so many bytes, and of the bias gradient that its arguments may want behind it: one after
/// the other in the same memory.
template <class Args>
std::int64_t with_bias_gradient(const Args& args, std::int64_t product_bytes) {
  if constexpr (requires { args.dbias; }) {
    if (args.dbias.present()) return std::max(product_bytes, sum_rows_workspace_bytes(args.dy));
  }
  return product_bytes;
}

/// Enqueues that every row of `out` becomes `row`, of the same type; 0 where it is absent.
std::function<void(Stream&)> make_fill_rows(ConstTensorView row, TensorView out);

/// Enqueues out = 0, whatever its type.
std::function<void(Stream&)> make_fill_zero(TensorView out);

}  // namespace minim::cuda
