#include "weights.h"

#include <vector>

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

}  // namespace minim
