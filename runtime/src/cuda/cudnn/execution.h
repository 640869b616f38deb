#pragma once

#include <memory>
#include <vector>

#include "cuda/cudnn/plan.h"
#include "minim/runtime/stream.h"
#include "minim/runtime/tensor.h"

namespace minim::cuda::cudnn {

/// A tensor of an operation graph, by its CUDNN_ATTR_TENSOR_UNIQUE_ID, and where it lies.
struct BoundTensor {
  std::int64_t id;
  ConstTensorView view;
};

/// A plan bound to the memory that it works on.
class Execution {
 public:
  /// Throws InvalidArgument when the workspace is smaller than the plan's, or a tensor less aligned than kTensorAlignmentBytes.
  Execution(std::shared_ptr<const Plan> plan, const std::vector<BoundTensor>& tensors, TensorView workspace);

  /// Enqueues the work. A stream's first makes the handle through which cuDNN works in that stream's order.
  void enqueue(Stream& stream) const;

 private:
  std::shared_ptr<const Plan> plan_;
  Descriptor memory_;
};

}  // namespace minim::cuda::cudnn
