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

}  // namespace

void validate(const UpdateRule& rule) {
  if (const auto* sgd = std::get_if<SgdRule>(&rule)) {
    require_decay(sgd->momentum, "SGD: momentum");
    return;
  }
  const auto& adam = std::get<AdamRule>(rule);
  require_decay(adam.beta1, "Adam: beta1");
  require_decay(adam.beta2, "Adam: beta2");
  if (!(static_cast<float>(adam.epsilon) > 0) || !std::isfinite(adam.epsilon)) {
    throw InvalidArgument(fmt::format("Adam: epsilon is {}, wanted positive in FP32", adam.epsilon));
  }
}

int moments(const UpdateRule& rule) {
  if (const auto* sgd = std::get_if<SgdRule>(&rule)) return sgd->momentum != 0 ? 1 : 0;
  return 2;
}

RuleNumbers numbers_of(const UpdateRule& rule) {
  RuleNumbers numbers{.moments = moments(rule)};
  if (const auto* sgd = std::get_if<SgdRule>(&rule)) {
    numbers.momentum = sgd->momentum;
  } else {
    const auto& adam = std::get<AdamRule>(rule);
    numbers.beta1 = adam.beta1;
    numbers.beta2 = adam.beta2;
    numbers.epsilon = adam.epsilon;
  }
  return numbers;
}

std::string_view name(const UpdateRule& rule) { return std::holds_alternative<SgdRule>(rule) ? "sgd" : "adam"; }

}  // namespace minim
