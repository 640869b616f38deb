#pragma once

#include <span>
#include <string>

#include "minim/runtime/backend.h"
#include "minim/runtime/parameter.h"

namespace minim {

/// Sets a weight, in its type and physical order, from FP32 elements in logical order.
void set_weight(Backend& backend, const Parameter& parameter, std::span<const float> logical);
/// Sets committed and pending values of a state.
void set_state_values(Backend& backend, const State& state, std::span<const float> values);

// What files of weights are held against; `source` is the file or directory that the refusal begins with.

/// Throws InvalidArgument unless there is a tensor, and it has the shape that the model wants. `found`: null where there is none.
void expect_shape(const std::string& source, const std::string& name, const Shape* found, const Shape& wanted);
/// Throws the InvalidArgument of a tensor that the model does not have.
[[noreturn]] void throw_unknown_tensor(const std::string& source, const std::string& name, const Shape& shape);

}  // namespace minim
