#pragma once

#include "minim/runtime/tensor.h"

namespace minim {

/// y[...] = w[indices[...]]: a row of the table for every index. An index that is no row's makes its row of y NaN, so that no
/// step is applied that has seen it; no other memory is read. Padding samples get y = 0.
struct EmbeddingForward {
  ConstTensorView w;              ///< [V, D], fp32, fp16 or bf16
  ConstTensorView indices;        ///< [N] or [N, T], int32 or int64, in [0, V) for every valid sample
  ConstTensorView valid_samples;  ///< [1], int32: samples from there on are padding; may be absent: all count
  TensorView y;                   ///< [N, D] or [N, T, D], as w
};

/// dw[v] = sum of dy over the places of index v, added in FP32 in the order of places, rounded once; 0 where there is none. With
/// `accumulate` the old dw is added before rounding. Padding samples and indices that are no row's contribute nothing.
/// There are less than 2^31 indices; on CUDA devices all are compared with each other, which is meant for some ten thousand.
struct EmbeddingBackward {
  ConstTensorView dy;             ///< [N, D] or [N, T, D]
  ConstTensorView indices;        ///< [N] or [N, T], int32 or int64
  ConstTensorView valid_samples;  ///< as in forward
  TensorView dw;                  ///< [V, D], as dy
  bool accumulate = false;
  TensorView workspace;  ///< [bytes], uint8
};

}  // namespace minim
