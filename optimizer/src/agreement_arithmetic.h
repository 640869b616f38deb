#pragma once

#include <cmath>

#include "minim/optimizer/loss_scaler.h"
#include "minim/optimizer/update_rule.h"
#include "minim/runtime/host_device.h"

/// The arithmetic of the agreement, for the CPU and a GPU alike: plain pointers, no exceptions.
namespace minim::agreement {

/// What a rank's record is made from; see FillRecord.
struct RecordSources {
  const float* loss = nullptr;
  const float* weight = nullptr;
  const float* correct = nullptr;
  const std::int32_t* report = nullptr;
  const std::int32_t* overflow = nullptr;
  const StepState* state = nullptr;
  std::uint64_t configuration = 0;
};

MINIM_HOST_DEVICE inline AgreementRecord make_record(const RecordSources& from) {
  AgreementRecord record;
  record.error_code = from.report[0];
  record.stop_requested = from.report[1];
  if (*from.overflow != kNoOverflow && record.error_code == 0) {
    record.error_code = static_cast<std::int32_t>(AgreementError::weight_overflow);
    record.first_bad_parameter = *from.overflow;
  }
  record.step = from.state->attempted;
  record.configuration = from.configuration;
  record.loss = static_cast<double>(*from.loss);
  record.weight = static_cast<double>(*from.weight);
  record.correct = static_cast<double>(*from.correct);
  return record;
}

/// What the records of all ranks are folded with; see `fold_agreement`.
struct FoldSources {
  const AgreementRecord* records = nullptr;  ///< by rank
  std::int64_t ranks = 0;
  const float* learning_rates = nullptr;  ///< by `applied`
  std::int64_t learning_rate_count = 0;
  AgreementConfig config;
};

/// The records added up in rank order.
struct Totals {
  std::int64_t non_finite = 0;
  std::int32_t first_bad_parameter = -1;
  std::int32_t stop = 0;
  double loss = 0, weight = 0, correct = 0, sum_squares = 0;

  MINIM_HOST_DEVICE bool finite() const { return non_finite == 0 && std::isfinite(loss) && std::isfinite(weight); }
};

MINIM_HOST_DEVICE inline Totals add_up(const FoldSources& from) {
  Totals totals;
  for (std::int64_t rank = 0; rank < from.ranks; ++rank) {
    const AgreementRecord& record = from.records[rank];
    totals.non_finite += record.non_finite;
    const std::int32_t bad = record.first_bad_parameter;
    if (bad >= 0 && (totals.first_bad_parameter < 0 || bad < totals.first_bad_parameter)) totals.first_bad_parameter = bad;
    totals.stop |= record.stop_requested != 0 ? 1 : 0;
    totals.loss += record.loss;
    totals.weight += record.weight;
    totals.correct += record.correct;
    for (int group = 0; group < from.config.groups; ++group) totals.sum_squares += record.sum_squares[group];
  }
  return totals;
}

/// The error of one record, seen beside rank 0's.
MINIM_HOST_DEVICE inline std::int32_t error_of(const AgreementRecord& record, const AgreementRecord& rank0) {
  if (record.configuration != rank0.configuration) return static_cast<std::int32_t>(AgreementError::configurations_differ);
  if (record.step != rank0.step) return static_cast<std::int32_t>(AgreementError::steps_differ);
  return record.error_code;
}

/// Puts the first error into the state; false when there is none.
MINIM_HOST_DEVICE inline bool find_error(StepState& state, const FoldSources& from) {
  for (std::int64_t rank = 0; rank < from.ranks; ++rank) {
    const std::int32_t error = error_of(from.records[rank], from.records[0]);
    if (error == 0) continue;
    state.error_code = error;
    state.failed_rank = static_cast<std::int32_t>(rank);
    state.first_bad_parameter = from.records[rank].first_bad_parameter;
    return true;
  }
  return false;
}

/// By what the update multiplies its gradients, with the scale that the loss was multiplied by.
MINIM_HOST_DEVICE inline void decide_update(StepState& state, const Totals& totals, const FoldSources& from) {
  const AgreementConfig& config = from.config;
  const double mean = config.nominal_weight / totals.weight;
  state.gradient_norm = std::sqrt(totals.sum_squares) * mean;
  const bool clipped = config.clip_norm > 0 && state.gradient_norm > config.clip_norm;
  const double clip = clipped ? config.clip_norm / state.gradient_norm : 1.0;
  for (int group = 0; group < config.groups; ++group) {
    state.unscale[group] = static_cast<float>(mean / static_cast<double>(state.loss_scale) * clip);
  }
  const std::int64_t last = from.learning_rate_count - 1;
  state.learning_rate = from.learning_rates[state.applied < last ? state.applied : last];
}

MINIM_HOST_DEVICE inline void move_scale_after_update(StepState& state, const LossScaleConfig& config) {
  state.consecutive_skips = 0;
  state.good_steps = state.good_steps < config.growth_interval ? state.good_steps + 1 : config.growth_interval;
  const bool grows = config.mode == LossScaleMode::dynamic && state.good_steps >= config.growth_interval;
  if (!grows || state.loss_scale >= config.maximum) return;
  state.loss_scale *= 2;
  state.good_steps = 0;
  state.probing = 1;
}

MINIM_HOST_DEVICE inline void move_scale_after_skip(StepState& state, const LossScaleConfig& config) {
  state.good_steps = 0;
  const bool can_fall = config.mode == LossScaleMode::dynamic && state.loss_scale > config.minimum;
  if (can_fall) {
    state.loss_scale /= 2;
    state.consecutive_skips = 0;
    return;
  }
  state.consecutive_skips += 1;
  state.exhausted = state.consecutive_skips >= config.max_consecutive_skips ? 1 : 0;
}

/// Forgets the decision of the step before.
MINIM_HOST_DEVICE inline void clear_decision(StepState& state) {
  state.outcome = static_cast<std::int32_t>(Outcome::none);
  state.last_applied = 0;
  state.stop = 0;
  state.failed_rank = -1;
  state.error_code = 0;
  state.exhausted = 0;
  state.probe_failed = 0;
  state.first_bad_parameter = -1;
  state.learning_rate = 0;
  for (float& unscale : state.unscale) unscale = 0;
  state.gradient_norm = 0;
}

/// The state of a step that has ended, whatever its outcome will be.
MINIM_HOST_DEVICE inline void count_attempt(StepState& state, const Totals& totals) {
  clear_decision(state);
  state.used_loss_scale = state.loss_scale;
  state.attempted += 1;
  state.stop = totals.stop;
  state.non_finite = totals.non_finite;
  state.first_bad_parameter = totals.first_bad_parameter;
  state.loss = totals.loss;
  state.weight = totals.weight;
  state.correct = totals.correct;
}

/// See `fold_agreement`.
MINIM_HOST_DEVICE inline void fold(StepState& state, const FoldSources& from) {
  const Totals totals = add_up(from);
  count_attempt(state, totals);
  if (find_error(state, from)) {
    state.outcome = static_cast<std::int32_t>(Outcome::failed);
    return;
  }
  if (totals.finite() && totals.weight <= 0) {
    state.outcome = static_cast<std::int32_t>(Outcome::skipped);
    return;
  }
  const bool probing = state.probing != 0;
  state.probing = 0;
  if (!totals.finite()) {
    state.outcome = static_cast<std::int32_t>(Outcome::skipped);
    state.probe_failed = probing ? 1 : 0;
    move_scale_after_skip(state, from.config.loss_scale);
    return;
  }
  decide_update(state, totals, from);
  state.outcome = static_cast<std::int32_t>(Outcome::applied);
  state.last_applied = 1;
  state.applied += 1;
  move_scale_after_update(state, from.config.loss_scale);
}

}  // namespace minim::agreement
