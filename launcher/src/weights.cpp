#include "weights.h"

#include <fmt/format.h>

#include <vector>

#include "minim/runtime/error.h"
#include "minim/runtime/transfer.h"

namespace minim {

void set_weight(Backend& backend, const Parameter& parameter, std::span<const float> logical) {
  std::vector<float> physical(logical.size());
  to_physical(parameter.shape, parameter.layout, logical, physical);
  upload(backend, physical, parameter.weight);
}

void set_state_values(Backend& backend, const State& state, std::span<const float> values) {
  for (const TensorView& view : {state.committed, state.pending}) upload(backend, values, view);
}

void expect_shape(const std::string& source, const std::string& name, const Shape* found, const Shape& wanted) {
  if (found == nullptr) {
    throw InvalidArgument(
        fmt::format("{}: has no \"{}\", which the model wants with shape {}", source, name, wanted.to_string()));
  }
  if (*found != wanted) {
    throw InvalidArgument(
        fmt::format("{}: \"{}\" has shape {}, the model wants {}", source, name, found->to_string(), wanted.to_string()));
  }
}

void throw_unknown_tensor(const std::string& source, const std::string& name, const Shape& shape) {
  throw InvalidArgument(
      fmt::format("{}: holds \"{}\" of shape {}, which the model does not have", source, name, shape.to_string()));
}

}  // namespace minim
