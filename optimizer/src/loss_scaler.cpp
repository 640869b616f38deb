#include "minim/optimizer/loss_scaler.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <cmath>

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

/// The records added up in rank order.
struct Totals {
  std::int64_t non_finite = 0;
  std::int32_t first_bad_parameter = -1;
  std::int32_t stop = 0;
  double loss = 0, weight = 0, correct = 0, sum_squares = 0;
};

Totals add_up(std::span<const AgreementRecord> records, int groups) {
  Totals totals;
  for (const AgreementRecord& record : records) {
    totals.non_finite += record.non_finite;
    const std::int32_t bad = record.first_bad_parameter;
    if (bad >= 0 && (totals.first_bad_parameter < 0 || bad < totals.first_bad_parameter)) totals.first_bad_parameter = bad;
    totals.stop |= record.stop_requested != 0 ? 1 : 0;
    totals.loss += record.loss;
    totals.weight += record.weight;
    totals.correct += record.correct;
    for (int group = 0; group < groups; ++group) totals.sum_squares += record.sum_squares[group];
  }
  return totals;
}

/// The error of one record, seen beside rank 0's.
std::int32_t error_of(const AgreementRecord& record, const AgreementRecord& rank0) {
  if (record.configuration != rank0.configuration) return static_cast<std::int32_t>(AgreementError::configurations_differ);
  if (record.step != rank0.step) return static_cast<std::int32_t>(AgreementError::steps_differ);
  return record.error_code;
}

/// Puts the first error into the state; false when there is none.
bool find_error(StepState& state, std::span<const AgreementRecord> records) {
  for (std::size_t rank = 0; rank < records.size(); ++rank) {
    const std::int32_t error = error_of(records[rank], records[0]);
    if (error == 0) continue;
    state.error_code = error;
    state.failed_rank = static_cast<std::int32_t>(rank);
    state.first_bad_parameter = records[rank].first_bad_parameter;
    return true;
  }
  return false;
}

bool can_fall(const StepState& state, const LossScaleConfig& config) {
  return config.mode == LossScaleMode::dynamic && state.loss_scale > config.minimum;
}

/// By what the update multiplies its gradients, with the scale that the loss was multiplied by.
void decide_update(StepState& state, const Totals& totals, const AgreementConfig& config, std::span<const float> learning_rates) {
  const double mean = config.nominal_weight / totals.weight;
  state.gradient_norm = std::sqrt(totals.sum_squares) * mean;
  const bool clipped = config.clip_norm > 0 && state.gradient_norm > config.clip_norm;
  const double clip = clipped ? config.clip_norm / state.gradient_norm : 1.0;
  for (int group = 0; group < config.groups; ++group) {
    state.unscale[group] = static_cast<float>(mean / static_cast<double>(state.loss_scale) * clip);
  }
  const auto last = static_cast<std::int64_t>(learning_rates.size()) - 1;
  state.learning_rate = learning_rates[static_cast<std::size_t>(std::min(state.applied, last))];
}

void move_scale_after_update(StepState& state, const LossScaleConfig& config) {
  state.consecutive_skips = 0;
  state.good_steps = std::min(state.good_steps + 1, config.growth_interval);
  const bool grows = config.mode == LossScaleMode::dynamic && state.good_steps >= config.growth_interval;
  if (!grows || state.loss_scale >= config.maximum) return;
  state.loss_scale *= 2;
  state.good_steps = 0;
  state.probing = 1;
}

void move_scale_after_skip(StepState& state, const LossScaleConfig& config) {
  state.good_steps = 0;
  if (can_fall(state, config)) {
    state.loss_scale /= 2;
    state.consecutive_skips = 0;
    return;
  }
  state.consecutive_skips += 1;
  state.exhausted = state.consecutive_skips >= config.max_consecutive_skips ? 1 : 0;
}

/// Forgets the decision of the step before.
void clear_decision(StepState& state) {
  state.outcome = static_cast<std::int32_t>(Outcome::none);
  state.last_applied = 0;
  state.stop = 0;
  state.failed_rank = -1;
  state.error_code = 0;
  state.exhausted = 0;
  state.probe_failed = 0;
  state.first_bad_parameter = -1;
  state.learning_rate = 0;
  std::fill(std::begin(state.unscale), std::end(state.unscale), 0.0F);
  state.gradient_norm = 0;
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
  const Totals totals = add_up(records, config.groups);
  clear_decision(state);
  state.used_loss_scale = state.loss_scale;
  state.attempted += 1;
  state.stop = totals.stop;
  state.non_finite = totals.non_finite;
  state.first_bad_parameter = totals.first_bad_parameter;
  state.loss = totals.loss;
  state.weight = totals.weight;
  state.correct = totals.correct;
  if (find_error(state, records)) {
    state.outcome = static_cast<std::int32_t>(Outcome::failed);
    return;
  }
  const bool finite = totals.non_finite == 0 && std::isfinite(totals.loss) && std::isfinite(totals.weight);
  if (finite && totals.weight <= 0) {
    state.outcome = static_cast<std::int32_t>(Outcome::skipped);
    return;
  }
  const bool probing = state.probing != 0;
  state.probing = 0;
  if (!finite) {
    state.outcome = static_cast<std::int32_t>(Outcome::skipped);
    state.probe_failed = probing ? 1 : 0;
    move_scale_after_skip(state, config.loss_scale);
    return;
  }
  decide_update(state, totals, config, learning_rates);
  state.outcome = static_cast<std::int32_t>(Outcome::applied);
  state.last_applied = 1;
  state.applied += 1;
  move_scale_after_update(state, config.loss_scale);
}

}  // namespace minim
