#include "minim/model/plan.h"
#include "minim/runtime/transfer.h"

namespace minim {

namespace {

/// Elements from one state to the next.
std::int64_t room_of(const State& state) {
  return round_up(state.shape.elements() * size_bytes(DType::fp32), kAlignmentBytes) / size_bytes(DType::fp32);
}

/// Gives each state that has none a tensor, one after another in memory.
void place(Model& model, Backend& backend, TensorView State::*tensor) {
  std::vector<float> values;
  for (const auto& state : model.states()) {
    if (((*state).*tensor).present()) continue;
    values.insert(values.end(), static_cast<std::size_t>(state->shape.elements()), static_cast<float>(state->initial));
    values.resize(values.size() + static_cast<std::size_t>(room_of(*state) - state->shape.elements()));
  }
  if (values.empty()) return;
  const Tensor all = backend.allocate_tensor(DType::fp32, Shape{static_cast<std::int64_t>(values.size())}, MemoryKind::state);
  upload(backend, values, all);
  model.keep(all);
  std::int64_t begin = 0;
  for (const auto& state : model.states()) {
    if (((*state).*tensor).present()) continue;
    (*state).*tensor = all.view().slice(begin, begin + state->shape.elements()).reshaped(state->shape);
    begin += room_of(*state);
  }
}

}  // namespace

void place_states(Model& model, Backend& backend) {
  place(model, backend, &State::committed);
  place(model, backend, &State::pending);
}

std::int64_t state_bytes(const Model& model) {
  std::int64_t elements = 0;
  for (const auto& state : model.states()) elements += room_of(*state);
  return 2 * elements * size_bytes(DType::fp32);
}

}  // namespace minim
