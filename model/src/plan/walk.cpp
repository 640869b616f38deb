#include "plan/walk.h"

#include <fmt/format.h>

#include <algorithm>

#include "minim/runtime/error.h"
#include "plan/walk_context.h"

namespace minim {

Walk::Walk(const Graph& graph, const Backend& backend, const CompileOptions& options)
    : graph_(graph), backend_(backend), options_(options) {}

void Walk::run() {
  add_values();
  const int nodes = static_cast<int>(graph_.nodes().size());
  for (int i = 0; i < nodes; ++i) forward(i);
  if (graph_.mode() != Graph::Mode::training) return;
  for (int i = nodes - 1; i >= 0; --i) backward(i);
}

void Walk::add_values() {
  std::size_t count = graph_.inputs().size();
  for (const Graph::Node& n : graph_.nodes()) count += n.outputs.size();
  values_.resize(count);
  differentiable_.resize(count);
  contributions_.resize(count);
  gradients_.resize(count);

  const auto add = [this](int node, Value v, Storage::Kind kind) {
    const ValueSpec& spec = graph_.spec(v);
    value(v) = add_tensor(node, dtype(spec.element), spec.shape.with_batch(options_.batch), kind);
  };
  for (const auto& input : graph_.inputs()) add(-1, input.value, Storage::Kind::pinned);
  for (int i = 0; i < static_cast<int>(graph_.nodes().size()); ++i) {
    const Graph::Node& n = node(i);
    for (std::size_t o = 0; o < n.outputs.size(); ++o) {
      if (o == 0 && n.operation->is_view()) {
        const ValueSpec& spec = graph_.spec(n.outputs[o]);
        value(n.outputs[o]) = {value(n.inputs.front()).storage, dtype(spec.element), spec.shape.with_batch(options_.batch)};
      } else {
        add(i, n.outputs[o], Storage::Kind::arena);
      }
    }
  }
  for (const auto& output : graph_.outputs()) {
    storages_[static_cast<std::size_t>(value(output.value).storage)].kind = Storage::Kind::pinned;
  }
}

void Walk::forward(int i) {
  const Graph::Node& n = node(i);
  // A loss ends the chain rule: its backward starts from the loss scale, whatever becomes of its sums.
  if (!n.operation->is_loss()) {
    const bool from_here = std::ranges::any_of(n.parameters, [this](const Parameter* p) { return trains(*p); }) ||
                           std::ranges::any_of(n.inputs, [this](Value v) { return differentiable(v); });
    for (const Value output : n.outputs) {
      const ElementType element = graph_.spec(output).element;
      const bool floating = element == ElementType::activation || element == ElementType::fp32;
      differentiable_[static_cast<std::size_t>(output.id)] = from_here && floating;
    }
  }
  Site site{i, false, {}};
  if (n.operation->in_place() && !n.inputs.empty()) {
    site.in_place.push_back({value(n.outputs.front()).storage, value(n.inputs.front()).storage});
  }
  Context context(*this, site);
  n.operation->forward(context);
  for (std::size_t o = 0; o < n.outputs.size(); ++o) complete(site, static_cast<int>(o), value(n.outputs[o]));
}

void Walk::backward(int i) {
  const std::vector<Value>& outputs = node(i).outputs;
  for (const Value output : outputs) complete_gradient(i, output);
  for (std::size_t o = 0; o < outputs.size(); ++o) {
    if (gradient(outputs[o])) complete({i, true, {}}, static_cast<int>(o), *gradient(outputs[o]));
  }
  if (!wants_backward(i)) return;
  Context context(*this, {i, true, {}});
  node(i).operation->backward(context);
}

bool Walk::wants_backward(int i) const {
  const Graph::Node& n = node(i);
  const auto has_gradient = [this](Value v) { return gradients_[static_cast<std::size_t>(v.id)].has_value(); };
  if (!n.operation->is_loss() && std::ranges::none_of(n.outputs, has_gradient)) return false;
  return std::ranges::any_of(n.parameters, [this](const Parameter* p) { return trains(*p); }) ||
         std::ranges::any_of(n.inputs, [this](Value v) { return differentiable(v); });
}

/// All consumers have been visited: what they contributed becomes the gradient, in one sum where there is more than one part, and
/// that in front of the activation where the operation has one.
void Walk::complete_gradient(int i, Value v) {
  const Graph::Node& n = node(i);
  const std::vector<Slot>& parts = contributions(v);
  if (parts.empty()) return;
  const bool has_relu = v.id == n.outputs.front().id && n.operation->activation() == Activation::relu;
  if (parts.size() == 1 && !has_relu) {
    gradient(v) = parts.front();
    return;
  }
  const Slot result = add_tensor(i, value(v).dtype, value(v).shape, Storage::Kind::arena);
  Site site{i, true, {}};
  std::vector<ConstTensorView> inputs;
  for (const Slot& part : parts) {
    inputs.push_back(view(part));
    site.in_place.push_back({result.storage, part.storage});
  }
  Context context(*this, std::move(site));
  const auto elements = static_cast<double>(result.shape.elements());
  if (parts.size() == 1) {
    context.emit(ReluBackward{.y = view(value(v)), .dy = inputs.front(), .dx = view(result)}, elements);
  } else {
    const ConstTensorView mask = has_relu ? view(value(v)) : ConstTensorView{};
    context.emit(Sum{.inputs = std::move(inputs), .mask = mask, .y = view(result)},
                 elements * static_cast<double>(parts.size() - 1));
  }
  gradient(v) = result;
}

bool Walk::trains(const Parameter& parameter) const {
  return graph_.mode() == Graph::Mode::training && (!options_.trainable || options_.trainable(parameter));
}

int Walk::add_storage(Storage storage) {
  storages_.push_back(storage);
  return static_cast<int>(storages_.size()) - 1;
}

Slot Walk::add_tensor(int node, DType dtype, const Shape& shape, Storage::Kind kind) {
  Storage storage;
  storage.kind = kind;
  storage.size_bytes = shape.elements() * size_bytes(dtype);
  storage.node = node;
  return {add_storage(storage), dtype, shape};
}

Slot Walk::weight(const Parameter& parameter) {
  const auto [found, is_new] = weights_.try_emplace(&parameter);
  if (is_new) {
    found->second = add_tensor(-1, dtype(parameter), physical_shape(parameter.shape, parameter.layout), Storage::Kind::weight);
    storages_.back().parameter = &parameter;
  }
  return found->second;
}

Slot Walk::weight_gradient(const Parameter& parameter) {
  const auto [found, is_new] = weight_gradients_.try_emplace(&parameter);
  if (is_new) {
    found->second = add_tensor(-1, dtype(parameter), physical_shape(parameter.shape, parameter.layout), Storage::Kind::gradient);
    storages_.back().parameter = &parameter;
  }
  return found->second;
}

/// A copy of the description whose views belong to this walk.
const State& Walk::state(const State& description) {
  const auto [found, is_new] = states_.try_emplace(&description, description);
  if (is_new) {
    const auto add = [&](Storage::Kind kind) {
      const Slot slot = add_tensor(-1, DType::fp32, description.shape, kind);
      storages_.back().state = &description;
      return view(slot);
    };
    found->second.committed = add(Storage::Kind::committed_state);
    found->second.pending = add(Storage::Kind::pending_state);
  }
  return found->second;
}

DType Walk::dtype(const Parameter& parameter) const {
  return parameter.keep_fp32 ? DType::fp32 : compute_dtype(options_.precision);
}

DType Walk::dtype(ElementType element) const {
  switch (element) {
    case ElementType::activation: return compute_dtype(options_.precision);
    case ElementType::fp32: return DType::fp32;
    case ElementType::int32: return DType::int32;
    case ElementType::int64: return DType::int64;
    case ElementType::uint8: return DType::uint8;
  }
  return DType::fp32;
}

}  // namespace minim
