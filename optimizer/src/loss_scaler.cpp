#include "minim/optimizer/loss_scaler.h"

#include <fmt/core.h>

#include <bit>
#include <cmath>

#include "agreement_arithmetic.h"
#include "minim/runtime/error.h"

namespace minim {

namespace {

bool is_power_of_two(float value) {
  int exponent = 0;
  return std::isfinite(value) && value > 0 && std::frexp(value, &exponent) == 0.5F;
}

void require_power_of_two(float value, const char* what) {
  if (!is_power_of_two(value)) throw InvalidArgument(fmt::format("loss scale: {} is {}, a power of two is wanted", what, value));
}

}  // namespace

int wire_exponent(int world_size) {
  if (world_size < 1) throw InvalidArgument(fmt::format("wire exponent: world size is {}, at least 1 is wanted", world_size));
  return std::bit_width(static_cast<unsigned>(world_size)) / 2;  // bit_width = floor(log2(W)) + 1
}

void validate(const LossScaleConfig& config) {
  if (config.max_consecutive_skips < 1) {
    throw InvalidArgument(
        fmt::format("loss scale: {} consecutive skips allowed, at least 1 is wanted", config.max_consecutive_skips));
  }
  if (config.mode == LossScaleMode::off) return;
  require_power_of_two(config.initial, "initial");
  if (config.mode == LossScaleMode::constant) return;
  require_power_of_two(config.minimum, "minimum");
  require_power_of_two(config.maximum, "maximum");
  if (config.initial < config.minimum || config.initial > config.maximum) {
    throw InvalidArgument(
        fmt::format("loss scale: initial is {}, wanted in [{}, {}]", config.initial, config.minimum, config.maximum));
  }
  if (config.growth_interval < 1) {
    throw InvalidArgument(fmt::format("loss scale: growth interval is {}, at least 1 is wanted", config.growth_interval));
  }
}

LossScaleConfig loss_scale_for(Precision precision, LossScaleConfig config) {
  if (compute_dtype(precision) != DType::fp16) config.mode = LossScaleMode::off;
  return config;
}

StepState initial_state(const LossScaleConfig& config) {
  validate(config);
  StepState state;
  state.loss_scale = config.mode == LossScaleMode::off ? 1.0F : config.initial;
  return state;
}

void fold_agreement(StepState& state, std::span<const AgreementRecord> records, const AgreementConfig& config,
                    std::span<const float> learning_rates) {
  agreement::fold(state, {.records = records.data(),
                          .ranks = static_cast<std::int64_t>(records.size()),
                          .learning_rates = learning_rates.data(),
                          .learning_rate_count = static_cast<std::int64_t>(learning_rates.size()),
                          .config = config});
}

}  // namespace minim
