#pragma once

#include <span>

#include "minim/optimizer/step_state.h"
#include "minim/runtime/precision.h"

namespace minim {

/// What folding the records needs to know besides them.
struct AgreementConfig {
  LossScaleConfig loss_scale;
  double nominal_weight = 1;  ///< n0 that the losses divided by
  int groups = 1;
  double clip_norm = 0;  ///< largest global gradient norm; 0: no clipping
};

/// p = floor((log2(W) + 1) / 2): half of the headroom that a sum over W ranks needs, so that FP16 sums neither overflow nor
/// vanish.
int wire_exponent(int world_size);

/// Checks a configuration; throws InvalidArgument that names the value. Scales must be powers of two.
void validate(const LossScaleConfig& config);
/// The configuration that a precision leads to: bf16 and fp32 have the range not to need scaling and run with it switched off.
LossScaleConfig loss_scale_for(Precision precision, LossScaleConfig config);
/// The state before the first step.
StepState initial_state(const LossScaleConfig& config);

/// Folds the records of all ranks, in rank order, into the state: decides whether the step is applied, by what its gradients are
/// multiplied, and, last of all, how S moves. The same on every rank, bit for bit.
///
/// A failure (an error code, ranks that disagree) and a step without a single sample move nothing but `attempted`.
/// A sum of losses or weights that is not finite counts as a non-finite gradient does: the step is skipped.
/// `learning_rates`: base rate by `applied`; its last element holds for all later steps.
void fold_agreement(StepState& state, std::span<const AgreementRecord> records, const AgreementConfig& config,
                    std::span<const float> learning_rates);

}  // namespace minim
