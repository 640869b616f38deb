#pragma once

#include <cmath>

#include "minim/optimizer/step_state.h"
#include "minim/optimizer/update_rule.h"
#include "optimizer/bounded.h"

/// The update rules as their sources print them, with errors in FP32.
namespace minim::testing {

/// What an update reads and writes of one element.
struct Slot {
  Bounded w, m1, m2;
};

/// What a step and a segment give a rule. `g` is the unscaled gradient, without decay.
struct RuleStep {
  Bounded g, rate, decay, ratio;
  double number = 1;  ///< t
};

inline Slot updated(const SgdRule& rule, const RuleStep& step, Slot x) {
  const Bounded g = step.g + step.decay * x.w;
  if (rule.momentum == 0) return {x.w - step.rate * g, x.m1, x.m2};
  x.m1 = rule.momentum * x.m1 + g;
  x.w = x.w - step.rate * (rule.nesterov ? g + rule.momentum * x.m1 : x.m1);
  return x;
}

inline Slot updated(const AdamRule& rule, const RuleStep& step, Slot x) {
  const Bounded g = rule.decoupled_decay ? step.g : step.g + step.decay * x.w;
  x.m1 = rule.beta1 * x.m1 + (1 - rule.beta1) * g;
  x.m2 = rule.beta2 * x.m2 + (1 - rule.beta2) * (g * g);
  const Bounded mean = x.m1 / (1 - std::pow(rule.beta1, step.number));
  const Bounded square = x.m2 / (1 - std::pow(rule.beta2, step.number));
  const Bounded w = rule.decoupled_decay ? x.w - step.rate * step.decay * x.w : x.w;
  x.w = w - step.rate * mean / (sqrt(square) + rule.epsilon);
  return x;
}

inline Slot updated(const AdagradRule& rule, const RuleStep& step, Slot x) {
  const Bounded g = step.g + step.decay * x.w;
  x.m1 = x.m1 + g * g;
  x.w = x.w - step.rate * g / (sqrt(x.m1 + rule.initial) + rule.epsilon);
  return x;
}

inline Slot updated(const RmsPropRule& rule, const RuleStep& step, Slot x) {
  const Bounded g = step.g + step.decay * x.w;
  x.m1 = rule.alpha * x.m1 + (1 - rule.alpha) * (g * g);
  const Bounded scaled = g / (sqrt(x.m1) + rule.epsilon);
  if (rule.momentum == 0) return {x.w - step.rate * scaled, x.m1, x.m2};
  x.m2 = rule.momentum * x.m2 + scaled;
  x.w = x.w - step.rate * x.m2;
  return x;
}

inline Slot updated(const LarsRule& rule, const RuleStep& step, Slot x) {
  x.m1 = rule.momentum * x.m1 + step.rate * step.ratio * (step.g + step.decay * x.w);
  x.w = x.w - x.m1;
  return x;
}

/// Updates the moments; returns r + decay * w of the source's algorithm.
inline Bounded step_of(const LambRule& rule, const RuleStep& step, Slot& x) {
  x.m1 = rule.beta1 * x.m1 + (1 - rule.beta1) * step.g;
  x.m2 = rule.beta2 * x.m2 + (1 - rule.beta2) * (step.g * step.g);
  const Bounded mean = x.m1 / (1 - std::pow(rule.beta1, step.number));
  const Bounded square = x.m2 / (1 - std::pow(rule.beta2, step.number));
  return mean / (sqrt(square) + rule.epsilon) + step.decay * x.w;
}

inline Slot updated(const LambRule& rule, const RuleStep& step, Slot x) {
  const Bounded r = step_of(rule, step, x);
  x.w = x.w - step.rate * step.ratio * r;
  return x;
}

/// `scaled`: the gradient as it was reduced, with p = `wire_exponent`.
inline RuleStep rule_step(const StepState& state, const UpdateSegment& segment, float scaled, int wire_exponent, float ratio) {
  const auto unscale = static_cast<double>(std::ldexp(state.unscale[segment.group], wire_exponent));
  return {.g = Bounded::exact(scaled) * unscale,
          .rate = static_cast<double>(state.learning_rate) * static_cast<double>(segment.learning_rate_factor),
          .decay = static_cast<double>(segment.weight_decay),
          .ratio = Bounded::exact(ratio),
          .number = static_cast<double>(state.applied)};
}

inline Slot updated(const UpdateRule& rule, const RuleStep& step, const Slot& x) {
  return std::visit([&](const auto& each) { return updated(each, step, x); }, rule);
}

}  // namespace minim::testing
