#pragma once

#include <span>

#include "minim/optimizer/step_state.h"

namespace minim {

/// What folding the records needs to know besides them.
struct AgreementConfig {
  LossScaleConfig loss_scale;
  int world_size = 1;
  int wire_exponent = 0;       ///< p: gradients were summed times 2^-p
  double nominal_weight = 1;   ///< n0 that the losses divided by
  int groups = 1;
  double clip_norm = 0;        ///< largest global gradient norm; 0: no clipping
};

/// p = floor((log2(W) + 1) / 2): half of the headroom that a sum over W ranks needs, so that FP16 sums neither overflow nor vanish.
int wire_exponent(int world_size);

/// Checks a configuration; throws InvalidArgument that names the value. Scales must be powers of two.
void validate(const LossScaleConfig& config);
/// The state before the first step.
StepState initial_state(const LossScaleConfig& config);

/// Folds the records of all ranks, in rank order, into the state: decides whether the step is applied, by what its gradients are
/// multiplied, and, last of all, how S moves. The same on every rank, bit for bit.
/// `learning_rates`: base rate by `applied`; its last element holds for all later steps.
void fold_agreement(StepState& state, std::span<const AgreementRecord> records, const AgreementConfig& config,
                    std::span<const float> learning_rates);

}  // namespace minim
