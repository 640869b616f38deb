#pragma once

#include <cmath>
#include <vector>

#include "minim/optimizer/update_rule.h"
#include "minim/runtime/backend.h"
#include "update_constants.h"

/// Trust ratios: by what LARS and LAMB multiply the learning rate of each parameter, from norms over all of its elements.
namespace minim {

/// Sums of squares over elements of a parameter, in FP64.
struct ParameterSquares {
  double weight = 0;
  double update = 0;  ///< of what the rule measures weights against: LARS the unscaled gradient, LAMB the step at learning rate 1
};

/// What the trust ratio of a parameter depends on besides its norms.
struct TrustParameter {
  bool adapts = true;  ///< false: the ratio is 1
  float weight_decay = 0;
};

/// Sums the squares that the coming ApplyUpdate's trust ratios are made of, segment by segment, with the tree of CheckGradients:
/// the same bits on every instruction set and for any number of threads. Changes nothing else; nothing at all unless the state
/// says that the step is applied.
struct MeasureUpdate {
  UpdateRule rule;
  std::vector<UpdateSegment> segments;  ///< no two of one parameter
  ConstTensorView gradient;             ///< [n], fp16, bf16 or fp32
  int wire_exponent = 0;                ///< p: the gradients were summed times 2^-p
  ConstTensorView master;               ///< [n], fp32; absent: the weight itself takes the update
  ConstTensorView weight;               ///< [n], fp16, bf16 or fp32
  ConstTensorView moment1;              ///< [n], fp32; read for LAMB only
  ConstTensorView moment2;              ///< [n], fp32; read for LAMB only
  ConstTensorView state;                ///< StepState as uint8 bytes
  TensorView squares;                   ///< ParameterSquares of each parameter as uint8 bytes: those of the segments are set
};

/// Adds up what all ranks have measured, in rank order, and makes the ratios, 1 where a norm is 0.
struct FoldSquares {
  UpdateRule rule;
  std::vector<TrustParameter> parameters;
  ConstTensorView squares;  ///< ParameterSquares of each parameter, of each rank, as uint8 bytes
  TensorView ratios;        ///< [parameters], fp32
};

/// The ratio of a parameter, from `squares[rank * stride]` of all ranks.
MINIM_HOST_DEVICE inline float trust_ratio(const RuleNumbers& rule, const TrustParameter& parameter,
                                           const ParameterSquares* squares, std::int64_t stride, std::int64_t ranks) {
  ParameterSquares sum;
  for (std::int64_t rank = 0; rank < ranks; ++rank) {
    sum.weight += squares[rank * stride].weight;
    sum.update += squares[rank * stride].update;
  }
  if (!parameter.adapts || sum.weight == 0 || sum.update == 0) return 1;
  const double weight = std::sqrt(sum.weight), update = std::sqrt(sum.update);
  if (rule.form == RuleForm::lamb) return static_cast<float>(weight / update);
  return static_cast<float>(rule.trust * weight / (update + static_cast<double>(parameter.weight_decay) * weight));
}

/// Adds the kernels of this header to a backend where they are missing.
void add_trust_kernels(Backend& backend);

}  // namespace minim
