#pragma once

#include <vector>

#include "minim/runtime/tensor.h"

namespace minim {

/// y = max(x, 0). NaN stays NaN. y may be x itself.
struct ReluForward {
  ConstTensorView x;
  TensorView y;  ///< as x
};

/// dx = dy where y > 0, else 0. dx may be dy itself.
struct ReluBackward {
  ConstTensorView y;
  ConstTensorView dy;
  TensorView dx;
};

/// y = sum of the inputs, added in FP32 in their order, rounded once; with a mask 0 where that is not > 0, as the gradient of a
/// ReLU. y may be one of the inputs.
struct Sum {
  std::vector<ConstTensorView> inputs;  ///< at least one, all of one shape and type
  ConstTensorView mask;                 ///< as an input; may be absent
  TensorView y;
};

/// Elements of x converted to y's type: fp32, fp16 or bf16 to any of them; int32 and int64 to themselves.
struct Cast {
  ConstTensorView x;
  TensorView y;
};

/// Every byte of y becomes zero.
struct Zero {
  TensorView y;
};

/// y = the inputs side by side along the last dimension.
struct ConcatForward {
  std::vector<ConstTensorView> inputs;  ///< [..., C_i], equal but for C_i
  TensorView y;                         ///< [..., sum of C_i]
};

/// The parts of dy, one for each input of the forward pass.
struct ConcatBackward {
  ConstTensorView dy;
  std::vector<TensorView> outputs;  ///< a part that nobody wants is absent
  std::vector<std::int64_t> channels;  ///< C_i of every input
};

/// A piece of random stream: the same for any number of ranks and threads, new with every attempted step.
struct RandomKey {
  std::uint64_t seed = 0;
  std::uint32_t operation = 0;     ///< tells the operations of a model apart
  ConstTensorView attempted_step;  ///< [1], int64
  ConstTensorView sample_ids;      ///< [N], int64: position of each sample in the training stream
};

/// y = x / (1 - rate) where a random number in [0, 1) is at least `rate`, else 0. y may be x itself.
/// Element e of sample s draws word e % 4 of philox({e / 4, attempted step, s low, s high}, {seed low ^ operation, seed high}).
struct DropoutForward {
  ConstTensorView x;  ///< [N, ...]
  TensorView y;       ///< as x
  double rate = 0.5;  ///< in [0, 1)
  RandomKey random;
};

/// dx from dy with the mask of the forward pass, drawn again.
struct DropoutBackward {
  ConstTensorView dy;
  TensorView dx;  ///< may be dy itself
  double rate = 0.5;
  RandomKey random;
};

}  // namespace minim
