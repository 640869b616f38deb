#pragma once

#include "minim/runtime/tensor.h"

namespace minim {

/// Ends a step for state that operations carry along: committed = pending where `applied` is not 0, else pending = committed.
struct CommitState {
  TensorView committed;     ///< fp32
  TensorView pending;       ///< as committed
  ConstTensorView applied;  ///< [1], int32
};

}  // namespace minim
