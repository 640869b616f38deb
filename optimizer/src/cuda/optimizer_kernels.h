#pragma once

#include "minim/runtime/backend.h"

namespace minim::cuda {

/// ApplyUpdate.
void add_apply_update_kernel(Backend& backend);
/// CheckGradients.
void add_check_gradients_kernel(Backend& backend);
/// MeasureUpdate and FoldSquares.
void add_trust_ratio_kernels(Backend& backend);
/// AverageWeights.
void add_average_weights_kernel(Backend& backend);
/// FillRecord and FoldAgreement.
void add_record_kernels(Backend& backend);

/// All kernels of the optimizer. The backend outlives the calls that are prepared.
inline void add_optimizer_kernels(Backend& backend) {
  add_apply_update_kernel(backend);
  add_check_gradients_kernel(backend);
  add_trust_ratio_kernels(backend);
  add_average_weights_kernel(backend);
  add_record_kernels(backend);
}

}  // namespace minim::cuda
