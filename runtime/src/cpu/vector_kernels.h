#pragma once

#include <string_view>

#include "minim/runtime/backend.h"

namespace minim::cpu {

/// The name under which `Backend::kernel_set` reports these kernels.
inline constexpr std::string_view kSet = "cpu";

void add_elementwise_kernels(Backend& backend);  ///< ReLU, sum, cast, zero, concat, state
void add_nonlinearity_kernels(Backend& backend);
void add_bias_kernels(Backend& backend);
void add_embedding_kernels(Backend& backend);
void add_batch_norm_kernels(Backend& backend);
void add_layer_norm_kernels(Backend& backend);
void add_dropout_kernels(Backend& backend);
void add_pooling_kernels(Backend& backend);
void add_local_response_norm_kernels(Backend& backend);
void add_loss_kernels(Backend& backend);
void add_exponent_kernels(Backend& backend);

}  // namespace minim::cpu
