#include "minim/model/plan.h"
#include "minim/runtime/transfer.h"

namespace minim {

namespace {

TensorView place(Model& model, Backend& backend, const State& state) {
  const Tensor tensor = backend.allocate_tensor(DType::fp32, state.shape, MemoryKind::state);
  upload(backend, std::vector(static_cast<std::size_t>(state.shape.elements()), static_cast<float>(state.initial)), tensor);
  model.keep(tensor);
  return tensor;
}

}  // namespace

void place_states(Model& model, Backend& backend) {
  for (const auto& state : model.states()) {
    if (!state->committed.present()) state->committed = place(model, backend, *state);
    if (!state->pending.present()) state->pending = place(model, backend, *state);
  }
}

}  // namespace minim
