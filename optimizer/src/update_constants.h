#pragma once

#include <cmath>
#include <cstdint>

#include "minim/optimizer/step_state.h"
#include "minim/optimizer/update_rule.h"
#include "minim/runtime/host_device.h"

namespace minim {

/// What rules have in common whose arithmetic differs in constants only: see update_arithmetic-inl.h.
enum class RuleForm : std::uint8_t { sgd, momentum, adam, squares, squares_momentum, lars, lamb };

/// The numbers of an update rule, for the CPU and a GPU alike.
struct RuleNumbers {
  RuleForm form = RuleForm::sgd;
  double momentum = 0;
  bool nesterov = false;
  double beta1 = 0, beta2 = 0;  ///< of the mean of gradients and of their squares
  double rest2 = 0;             ///< 1 - beta2; Adagrad, which adds up: 1, as its beta2
  double initial = 0;           ///< what the sum of squares starts from
  double epsilon = 0;
  bool decoupled_decay = false;  ///< weight decay that gradients do not see
  double trust = 0;              ///< LARS's coefficient
};
RuleNumbers numbers_of(const UpdateRule& rule);

/// What a rule multiplies by in one segment of one step, computed in FP64 and rounded once.
/// Without initial values, so that it may lie in the shared memory of a GPU.
struct UpdateConstants {
  float unscale;    ///< StepState::unscale * 2^p
  float decay;      ///< of the gradient: 0 where it is decoupled
  float shrinkage;  ///< learning rate * decoupled decay
  float rate;       ///< learning rate * trust ratio; Adam: divided by 1 - beta1^t
  float momentum;
  float gradient_part, velocity_part;  ///< momentum's step is this much of either: 0 and 1, Nesterov's 1 and momentum
  float beta1, rest1, beta2, rest2;    ///< rest1 = 1 - beta1
  float mean_scale;                    ///< LAMB: 1 / (1 - beta1^t)
  float deviation_scale;               ///< Adam and LAMB: 1 / sqrt(1 - beta2^t)
  float initial;
  float epsilon;
};

/// base^exponent for an exponent of at least 0, by repeated squaring: products alone, so that the bits are the same everywhere.
/// For a base in [0, 1] the relative error is below exponent * 2^-52.
MINIM_HOST_DEVICE inline double power(double base, std::int64_t exponent) {
  double result = 1;
  for (; exponent > 0; exponent /= 2) {
    if (exponent % 2 != 0) result *= base;
    base *= base;
  }
  return result;
}

/// `wire_scale` is 2^p, `trust_ratio` 1 for rules without.
MINIM_HOST_DEVICE inline UpdateConstants constants_of(const RuleNumbers& rule, const UpdateSegment& segment,
                                                      const StepState& state, float wire_scale, float trust_ratio) {
  UpdateConstants constants{};
  constants.unscale = state.unscale[segment.group] * wire_scale;
  double rate = static_cast<double>(state.learning_rate) * static_cast<double>(segment.learning_rate_factor);
  constants.decay = rule.decoupled_decay ? 0.0F : segment.weight_decay;
  constants.shrinkage = rule.decoupled_decay ? static_cast<float>(rate * static_cast<double>(segment.weight_decay)) : 0.0F;
  constants.momentum = static_cast<float>(rule.momentum);
  constants.gradient_part = rule.nesterov ? 1.0F : 0.0F;
  constants.velocity_part = rule.nesterov ? constants.momentum : 1.0F;
  constants.beta1 = static_cast<float>(rule.beta1);
  constants.rest1 = static_cast<float>(1 - rule.beta1);
  constants.beta2 = static_cast<float>(rule.beta2);
  constants.rest2 = static_cast<float>(rule.rest2);
  constants.initial = static_cast<float>(rule.initial);
  constants.epsilon = static_cast<float>(rule.epsilon);
  if (rule.form == RuleForm::adam || rule.form == RuleForm::lamb) {
    const double mean_weight = 1 - power(rule.beta1, state.applied);
    constants.deviation_scale = static_cast<float>(1 / std::sqrt(1 - power(rule.beta2, state.applied)));
    constants.mean_scale = static_cast<float>(1 / mean_weight);
    if (rule.form == RuleForm::adam) rate /= mean_weight;
  }
  constants.rate = static_cast<float>(rate * static_cast<double>(trust_ratio));
  return constants;
}

/// By what the gradients of a record's sums of squares are multiplied: 2^p / S.
MINIM_HOST_DEVICE inline double unscale_for_norms(const StepState& state, float wire_scale) {
  return 1.0 / static_cast<double>(state.loss_scale) * static_cast<double>(wire_scale);
}

}  // namespace minim
