#pragma once

#include <span>

#include "minim/runtime/backend.h"
#include "minim/runtime/parameter.h"

namespace minim {

/// Sets a weight, in its type and physical order, from FP32 elements in logical order.
void set_weight(Backend& backend, const Parameter& parameter, std::span<const float> logical);
/// Sets committed and pending values of a state.
void set_state_values(Backend& backend, const State& state, std::span<const float> values);

}  // namespace minim
