#pragma once

#include "minim/runtime/stream.h"

namespace minim::nccl {

/// What the ranks contribute to the sums of one of them, each `sums.elements()` elements of one type.
struct Contributions {
  const void* own = nullptr;
  const void* others = nullptr;  ///< of rank r at r times the bytes of one; what lies at this rank's place is not read
  DType dtype = DType::fp16;     ///< fp32, fp16 or bf16
  int rank = 0;
  int ranks = 1;
};

/// Enqueues sums[i] = FP32 sum over the ranks, in their order.
void sum_ranks(Stream& stream, const Contributions& from, const TensorView& sums);

}  // namespace minim::nccl
