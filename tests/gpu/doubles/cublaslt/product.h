#pragma once

#include <cublasLt.h>

#include <functional>

#include "minim/runtime/tensor.h"

namespace cublaslt_double {

/// The descriptors that a call is given, in its order.
struct Descriptors {
  cublasLtMatmulDesc_t operation;
  cublasLtMatrixLayout_t a, b, c, d;
};

/// A product as minim writes it, row-major: result = left right + bias, or added to the result. That is what the descriptors say
/// of column-major matrices, d = op(a) op(b), where a is `right` and b is `left`.
struct Product {
  /// Refuses what this double does not compute: anything but dense matrices of one type, in FP32, transposed as for a linear
  /// layer and its gradients.
  explicit Product(const Descriptors& descriptors);

  /// The work on memory of the device, in the order of a stream. Refuses addresses elsewhere.
  std::function<void()> work(const void* right, const void* left, void* result, float beta) const;

  minim::DType dtype;
  minim::Shape right, left, result;  ///< as they are stored
  bool right_transposed, left_transposed;
  bool adds_bias;
  const void* bias;  ///< null while only an algorithm is being chosen
};

}  // namespace cublaslt_double
