#pragma once

#include <string_view>
#include <variant>
#include <vector>

#include "minim/runtime/backend.h"
#include "minim/runtime/tensor.h"

namespace minim {

/// v = momentum * v + g + decay * w; w -= lr * v. The form that PyTorch and the paper's frameworks use.
/// Source: Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013.
struct SgdRule {
  double momentum = 0.9;
};

/// Source: Kingma and Ba, "Adam", arXiv:1412.6980, algorithm 1; weight decay is added to the gradient.
struct AdamRule {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
};

using UpdateRule = std::variant<SgdRule, AdamRule>;

/// Throws InvalidArgument that names the value.
void validate(const UpdateRule& rule);
/// Moments per parameter: 1 for SGD with momentum (0 without), 2 for Adam.
int moments(const UpdateRule& rule);
std::string_view name(const UpdateRule& rule);

/// Parameters of a slice that share a group: elements [begin, end) of the slice.
struct UpdateSegment {
  std::int64_t begin = 0, end = 0;
  int parameter = -1;  ///< index in the optimizer's parameter list
  int group = 0;
  float learning_rate_factor = 1;
  float weight_decay = 0;
};

/// One fused pass over a slice: gradient -> FP32 * unscale[group] * 2^p -> rule on master and moments -> weight, rounded to
/// nearest even. Does nothing unless the state says that the step is applied. Reads `applied` (already counted) for Adam's bias
/// correction. Products and sums are rounded one by one: the same bits on every instruction set and for any number of threads.
struct ApplyUpdate {
  UpdateRule rule;
  std::vector<UpdateSegment> segments;
  ConstTensorView gradient;  ///< [n], fp16, bf16 or fp32
  int wire_exponent = 0;     ///< p: the gradients were summed times 2^-p
  TensorView master;         ///< [n], fp32; absent: the weight itself takes the update and is rounded (precision fp16)
  TensorView moment1;        ///< [n], fp32; absent where the rule has none
  TensorView moment2;        ///< [n], fp32; absent where the rule has none
  TensorView weight;         ///< [n], fp16, bf16 or fp32
  ConstTensorView state;     ///< StepState as uint8 bytes
  TensorView overflow;       ///< [1], int32: lowered to the parameter of a weight that its type cannot hold; kNoOverflow before
};

inline constexpr std::int32_t kNoOverflow = 0x7FFFFFFF;  ///< above every parameter index

/// Looks at the reduced gradients of a slice: counts non-finite values, finds the first bad parameter, sums squares per group of
/// gradient * 2^p / S with one fixed tree that does not depend on threads or vector width. Adds to the record.
struct CheckGradients {
  std::vector<UpdateSegment> segments;
  ConstTensorView gradient;  ///< [n], fp16, bf16 or fp32
  int wire_exponent = 0;     ///< p: the gradients were summed times 2^-p
  ConstTensorView state;     ///< StepState as uint8 bytes
  TensorView record;         ///< AgreementRecord as uint8 bytes
};

/// Adds the kernels of this header to a backend where they are missing.
void add_update_kernels(Backend& backend);

}  // namespace minim
