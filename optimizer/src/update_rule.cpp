#include "minim/optimizer/update_rule.h"

#include <fmt/core.h>

#include <cmath>

#include "minim/runtime/error.h"
#include "update_constants.h"

namespace minim {

namespace {

void require_decay(double value, const char* what) {
  if (!(value >= 0 && value < 1)) throw InvalidArgument(fmt::format("{} is {}, wanted in [0, 1)", what, value));
}

void require_positive(double value, const char* what) {
  if (!(static_cast<float>(value) > 0) || !std::isfinite(static_cast<float>(value))) {
    throw InvalidArgument(fmt::format("{} is {}, wanted positive in FP32", what, value));
  }
}

void check(const SgdRule& rule) {
  require_decay(rule.momentum, "SGD: momentum");
  if (rule.nesterov && rule.momentum == 0) throw InvalidArgument("SGD: Nesterov's momentum is 0, wanted above 0");
}

void check(const AdamRule& rule) {
  require_decay(rule.beta1, "Adam: beta1");
  require_decay(rule.beta2, "Adam: beta2");
  require_positive(rule.epsilon, "Adam: epsilon");
}

void check(const AdagradRule& rule) {
  if (!(rule.initial >= 0) || !std::isfinite(static_cast<float>(rule.initial))) {
    throw InvalidArgument(fmt::format("Adagrad: the initial accumulator is {}, wanted finite and not negative", rule.initial));
  }
  require_positive(rule.epsilon, "Adagrad: epsilon");
}

void check(const RmsPropRule& rule) {
  require_decay(rule.alpha, "RMSProp: alpha");
  require_positive(rule.epsilon, "RMSProp: epsilon");
  require_decay(rule.momentum, "RMSProp: momentum");
}

void check(const LarsRule& rule) {
  require_decay(rule.momentum, "LARS: momentum");
  require_positive(rule.trust, "LARS: trust coefficient");
}

void check(const LambRule& rule) {
  require_decay(rule.beta1, "LAMB: beta1");
  require_decay(rule.beta2, "LAMB: beta2");
  require_positive(rule.epsilon, "LAMB: epsilon");
}

std::string_view name_of(const SgdRule& rule) { return rule.nesterov ? "nesterov" : "sgd"; }
std::string_view name_of(const AdamRule& rule) { return rule.decoupled_decay ? "adamw" : "adam"; }
std::string_view name_of(const AdagradRule& /*rule*/) { return "adagrad"; }
std::string_view name_of(const RmsPropRule& /*rule*/) { return "rmsprop"; }
std::string_view name_of(const LarsRule& /*rule*/) { return "lars"; }
std::string_view name_of(const LambRule& /*rule*/) { return "lamb"; }

RuleNumbers numbers(const SgdRule& rule) {
  return {.form = rule.momentum != 0 ? RuleForm::momentum : RuleForm::sgd, .momentum = rule.momentum, .nesterov = rule.nesterov};
}

RuleNumbers numbers(const AdamRule& rule) {
  return {.form = RuleForm::adam,
          .beta1 = rule.beta1,
          .beta2 = rule.beta2,
          .rest2 = 1 - rule.beta2,
          .epsilon = rule.epsilon,
          .decoupled_decay = rule.decoupled_decay};
}

RuleNumbers numbers(const AdagradRule& rule) {
  return {.form = RuleForm::squares, .beta2 = 1, .rest2 = 1, .initial = rule.initial, .epsilon = rule.epsilon};
}

RuleNumbers numbers(const RmsPropRule& rule) {
  return {.form = rule.momentum != 0 ? RuleForm::squares_momentum : RuleForm::squares,
          .momentum = rule.momentum,
          .beta2 = rule.alpha,
          .rest2 = 1 - rule.alpha,
          .epsilon = rule.epsilon};
}

RuleNumbers numbers(const LarsRule& rule) { return {.form = RuleForm::lars, .momentum = rule.momentum, .trust = rule.trust}; }

RuleNumbers numbers(const LambRule& rule) {
  return {.form = RuleForm::lamb, .beta1 = rule.beta1, .beta2 = rule.beta2, .rest2 = 1 - rule.beta2, .epsilon = rule.epsilon};
}

}  // namespace

void validate(const UpdateRule& rule) {
  std::visit([](const auto& each) { check(each); }, rule);
}

RuleNumbers numbers_of(const UpdateRule& rule) {
  return std::visit([](const auto& each) { return numbers(each); }, rule);
}

int moments(const UpdateRule& rule) {
  switch (numbers_of(rule).form) {
    case RuleForm::sgd: return 0;
    case RuleForm::momentum:
    case RuleForm::squares:
    case RuleForm::lars: return 1;
    case RuleForm::adam:
    case RuleForm::squares_momentum:
    case RuleForm::lamb: return 2;
  }
  return 0;
}

bool has_trust_ratios(const UpdateRule& rule) {
  return std::holds_alternative<LarsRule>(rule) || std::holds_alternative<LambRule>(rule);
}

std::string_view name(const UpdateRule& rule) {
  return std::visit([](const auto& each) { return name_of(each); }, rule);
}

}  // namespace minim
