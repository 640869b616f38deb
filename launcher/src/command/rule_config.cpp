#include "command/rule_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "minim/runtime/error.h"

namespace minim::command {
namespace {

struct Usual {
  const char* optimizer;
  double lr, momentum, weight_decay, epsilon;
};

/// PyTorch's, but for the learning rates of sgd and rmsprop and for a weight decay where PyTorch has none; it has no lars and
/// lamb.
constexpr Usual kUsualNumbers[] = {
    {.optimizer = "sgd", .lr = 0.02, .momentum = 0.9, .weight_decay = 1e-4, .epsilon = 0},
    {.optimizer = "adam", .lr = 0.001, .momentum = 0, .weight_decay = 1e-4, .epsilon = 1e-8},
    {.optimizer = "adamw", .lr = 0.001, .momentum = 0, .weight_decay = 0.01, .epsilon = 1e-8},
    {.optimizer = "adagrad", .lr = 0.01, .momentum = 0, .weight_decay = 1e-4, .epsilon = 1e-10},
    {.optimizer = "rmsprop", .lr = 0.001, .momentum = 0, .weight_decay = 1e-4, .epsilon = 1e-8},
    {.optimizer = "lars", .lr = 2, .momentum = 0.9, .weight_decay = 1e-4, .epsilon = 0},
    {.optimizer = "lamb", .lr = 0.01, .momentum = 0, .weight_decay = 0.01, .epsilon = 1e-6},
};

}  // namespace

RunConfig with_usual_numbers(RunConfig config) {
  const auto usual = std::ranges::find_if(kUsualNumbers, [&](const Usual& each) { return each.optimizer == config.optimizer; });
  if (usual == std::end(kUsualNumbers)) throw InvalidArgument(fmt::format("--optimizer {} is unknown", config.optimizer));
  if (config.lr == 0) config.lr = usual->lr;
  if (config.momentum == kUsual) config.momentum = usual->momentum;
  if (config.weight_decay == kUsual) config.weight_decay = usual->weight_decay;
  if (config.epsilon == 0) config.epsilon = usual->epsilon;
  return config;
}

void check_rule(const RunConfig& config) {
  if (config.nesterov && (config.optimizer != "sgd" || config.momentum == 0)) {
    throw InvalidArgument("--nesterov on is for --optimizer sgd with a --momentum above 0");
  }
  try {
    validate(update_rule(config));
  } catch (const InvalidArgument& error) {
    throw InvalidArgument(fmt::format("--optimizer {}: {}", config.optimizer, error.what()));
  }
}

UpdateRule update_rule(const RunConfig& config) {
  if (config.optimizer == "adagrad") return AdagradRule{.initial = config.initial_accumulator, .epsilon = config.epsilon};
  if (config.optimizer == "rmsprop") {
    return RmsPropRule{.alpha = config.alpha, .epsilon = config.epsilon, .momentum = config.momentum};
  }
  if (config.optimizer == "lars") return LarsRule{.momentum = config.momentum, .trust = config.trust_coefficient};
  if (config.optimizer == "lamb") return LambRule{.beta1 = config.beta1, .beta2 = config.beta2, .epsilon = config.epsilon};
  if (config.optimizer == "sgd") return SgdRule{.momentum = config.momentum, .nesterov = config.nesterov};
  return AdamRule{
      .beta1 = config.beta1, .beta2 = config.beta2, .epsilon = config.epsilon, .decoupled_decay = config.optimizer == "adamw"};
}

}  // namespace minim::command
