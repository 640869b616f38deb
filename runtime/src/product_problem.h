#pragma once

#include <cstdint>

#include "minim/runtime/kernels/linear.h"

namespace minim {

/// c[m, n] = a b + bias: by shapes and types alone.
struct ProductProblem {
  std::int64_t m = 0, n = 0, k = 0;
  bool a_transposed = false;  ///< stored [k, m] instead of [m, k]
  bool b_transposed = false;  ///< stored [n, k] instead of [k, n]
  bool has_bias = false;      ///< [n], added to every row of c
  bool accumulate = false;    ///< add to c
  DType storage = DType::fp32;

  /// No products at all.
  bool empty() const { return m == 0 || n == 0 || k == 0; }
};

inline ProductProblem problem_of(const LinearForward& args) {
  return {.m = args.x.shape()[0],
          .n = args.w.shape()[0],
          .k = args.w.shape()[1],
          .b_transposed = true,
          .has_bias = args.bias.present(),
          .storage = args.x.dtype()};
}

inline ProductProblem problem_of(const LinearBackwardData& args) {
  return {.m = args.dy.shape()[0], .n = args.w.shape()[1], .k = args.w.shape()[0], .storage = args.dy.dtype()};
}

/// Of dw.
inline ProductProblem problem_of(const LinearBackwardWeights& args) {
  return {.m = args.dw.shape()[0],
          .n = args.dw.shape()[1],
          .k = args.x.shape()[0],
          .a_transposed = true,
          .accumulate = args.accumulate,
          .storage = args.x.dtype()};
}

}  // namespace minim
