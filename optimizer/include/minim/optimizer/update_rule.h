#pragma once

#include <string_view>
#include <variant>
#include <vector>

#include "minim/runtime/backend.h"
#include "minim/runtime/tensor.h"

namespace minim {

// In all rules g is the unscaled gradient, to which decay * w has been added unless the rule says otherwise. Moments start at 0.

/// v = momentum * v + g; w -= lr * v. The form that PyTorch and the paper's frameworks use.
/// Source: Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013.
struct SgdRule {
  double momentum = 0.9;
  bool nesterov = false;  ///< w -= lr * (g + momentum * v): the momentum of the next step ahead, in PyTorch's form
};

/// m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * g^2; w -= lr * m' / (sqrt(v') + epsilon), where m' and v' are m
/// and v over 1 - beta^t.
/// Source: Kingma and Ba, "Adam", arXiv:1412.6980, algorithm 1.
struct AdamRule {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  /// AdamW: decay leaves g alone and takes lr * decay * w off the weight instead, as PyTorch's does.
  /// Source: Loshchilov and Hutter, "Decoupled weight decay regularization", arXiv:1711.05101, algorithm 2.
  bool decoupled_decay = false;
};

/// s += g^2; w -= lr * g / (sqrt(initial + s) + epsilon).
/// Source: Duchi et al., "Adaptive subgradient methods", JMLR 12 (2011), figure 1, diagonal; epsilon is its delta.
struct AdagradRule {
  double initial = 0;  ///< TensorFlow's initial accumulator value; the moment is the sum without it
  double epsilon = 1e-10;
};

/// s = alpha * s + (1 - alpha) * g^2; v = momentum * v + g / (sqrt(s) + epsilon); w -= lr * v. Epsilon is outside of the root, as
/// in PyTorch; TensorFlow has it inside.
/// Source: Tieleman and Hinton, "Neural networks for machine learning", lecture 6e, 2012.
struct RmsPropRule {
  double alpha = 0.99;
  double epsilon = 1e-8;
  double momentum = 0;
};

/// v = momentum * v + lr * ratio * g; w -= v. The trust ratio of a parameter is trust * |w| / (|g'| + decay * |w|), where g' is g
/// without decay and norms are those of the whole parameter.
/// Source: You et al., "Large batch training of convolutional networks", arXiv:1708.03888, algorithm 1.
struct LarsRule {
  double momentum = 0.9;
  double trust = 0.001;
};

/// w -= lr * ratio * u, where u = m' / (sqrt(v') + epsilon) + decay * w with Adam's m' and v' of a g without decay. The trust
/// ratio of a parameter is |w| / |u|.
/// Source: You et al., "Large batch optimization for deep learning", arXiv:1904.00962, algorithm 2, phi(x) = x.
struct LambRule {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-6;
};

using UpdateRule = std::variant<SgdRule, AdamRule, AdagradRule, RmsPropRule, LarsRule, LambRule>;

/// Throws InvalidArgument that names the value.
void validate(const UpdateRule& rule);
/// How many numbers the rule keeps of each element. The first is the v of SGD with momentum and LARS, the m of Adam and LAMB, the
/// s of Adagrad and RMSProp; the second the v of Adam, LAMB, and RMSProp with momentum.
int moments(const UpdateRule& rule);
/// Whether the rule wants a trust ratio for each parameter. It is 1 for parameters that do not decay, and where a norm is 0.
bool has_trust_ratios(const UpdateRule& rule);
/// "sgd", "nesterov", "adam", "adamw", "adagrad", "rmsprop", "lars", "lamb".
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
  ConstTensorView ratios;    ///< [parameters], fp32: trust ratios; absent where the rule has none
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
