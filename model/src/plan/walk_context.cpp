#include "plan/walk_context.h"

#include <fmt/format.h>

#include "minim/runtime/error.h"

namespace minim {

namespace {

/// FNV-1a: the same for a name in every program, so that graphs built alike draw alike.
std::uint32_t hash(std::string_view name) {
  std::uint32_t hash = 2166136261U;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  return hash;
}

template <class T>
bool has_index(const std::vector<T>& all, int i) {
  return i >= 0 && i < static_cast<int>(all.size());
}

}  // namespace

/// Stands for the arguments of a kernel where a plan gathers.
struct AllGather {};

void Walk::Context::fail(const std::string& why) const {
  throw InvalidArgument(fmt::format("{} \"{}\": {}", node_.operation->type(), node_.name, why));
}

void Walk::Context::expect_backward(std::string_view what) const {
  if (!site_.backward) fail(fmt::format("asks for the {} in forward, which has none", what));
}

Value Walk::Context::input_value(int i) const {
  if (!has_index(node_.inputs, i)) fail(fmt::format("asks for input {}, has {}", i, node_.inputs.size()));
  return node_.inputs[static_cast<std::size_t>(i)];
}

Value Walk::Context::output_value(int i) const {
  if (!has_index(node_.outputs, i)) fail(fmt::format("asks for output {}, has {}", i, node_.outputs.size()));
  return node_.outputs[static_cast<std::size_t>(i)];
}

const Parameter& Walk::Context::parameter(int i) const {
  if (!has_index(node_.parameters, i)) fail(fmt::format("asks for parameter {}, has {}", i, node_.parameters.size()));
  return *node_.parameters[static_cast<std::size_t>(i)];
}

const State& Walk::Context::state(int i) {
  if (!has_index(node_.states, i)) fail(fmt::format("asks for state {}, has {}", i, node_.states.size()));
  return walk_.state(*node_.states[static_cast<std::size_t>(i)]);
}

TensorView Walk::Context::saved(int slot, DType dtype, Shape shape) {
  const auto [found, is_new] = walk_.saved_.try_emplace({site_.node, slot});
  if (is_new) found->second = walk_.add_tensor(site_.node, dtype, shape, Storage::Kind::arena);
  const Slot& saved = found->second;
  if (saved.dtype != dtype || saved.shape != shape) {
    fail(fmt::format("saved tensor {} has shape {}, now {} is wanted", slot, saved.shape.to_string(), shape.to_string()));
  }
  return walk_.view(saved);
}

ConstTensorView Walk::Context::valid_samples(int i) {
  const auto count = walk_.graph_.valid_samples(input_value(i));
  return count ? walk_.view(walk_.value(*count)) : ConstTensorView{};
}

ConstTensorView Walk::Context::shared_input(std::string_view name) {
  for (const auto& input : walk_.graph_.inputs()) {
    if (input.name == name) return walk_.view(walk_.value(input.value));
  }
  fail(fmt::format("the graph has no input \"{}\"", name));
}

TensorView Walk::Context::output_gradient(int i) {
  expect_backward("gradient of an output");
  const auto& gradient = walk_.gradient(output_value(i));
  return gradient ? walk_.view(*gradient) : TensorView{};
}

TensorView Walk::Context::input_gradient(int i) {
  expect_backward("gradient of an input");
  const Value input = input_value(i);
  if (!walk_.differentiable(input)) return {};
  const auto [found, is_new] = walk_.input_gradients_.try_emplace({site_.node, i});
  if (is_new) {
    const Slot& like = walk_.value(input);
    found->second = walk_.add_tensor(site_.node, like.dtype, like.shape, Storage::Kind::arena);
    walk_.contributions(input).push_back(found->second);
    const auto& dy = walk_.gradient(node_.outputs.front());
    if (i == 0 && dy && node_.operation->backward_in_place()) site_.in_place.push_back({found->second.storage, dy->storage});
  }
  return walk_.view(found->second);
}

void Walk::Context::pass_gradient(int input, int output) {
  expect_backward("gradient of an input");
  const Value to = input_value(input);
  const auto& gradient = walk_.gradient(output_value(output));
  if (!gradient || !walk_.differentiable(to)) return;
  const Slot& like = walk_.value(to);
  if (like.dtype != gradient->dtype || like.shape.elements() != gradient->shape.elements()) {
    fail(fmt::format("passes a gradient of shape {} to an input of shape {}", gradient->shape.to_string(),
                     like.shape.to_string()));
  }
  walk_.contributions(to).push_back({gradient->storage, like.dtype, like.shape});
}

TensorView Walk::Context::weight_gradient(int i) {
  expect_backward("gradient of a parameter");
  return walk_.trains(parameter(i)) ? walk_.view(walk_.weight_gradient(parameter(i))) : TensorView{};
}

ConstTensorView Walk::Context::loss_scale() {
  expect_backward("loss scale");
  if (!walk_.loss_scale_) walk_.loss_scale_ = walk_.add_tensor(-1, DType::fp32, Shape{1}, Storage::Kind::loss_scale);
  return walk_.view(*walk_.loss_scale_);
}

void Walk::Context::all_gather(TensorView data, std::string_view what) {
  ErasedKernel gathering;
  gathering.arguments = &typeid(AllGather);
  gathering.kernel_set = "ranks";
  gathering.reads = gathering.writes = {data};
  gathering.gathered = data;
  gathering.gather_label = fmt::format("{} of {}", what, node_.name);
  emit_erased(gathering);
}

RandomKey Walk::Context::random_key() {
  if (!node_.operation->is_random()) fail("asks for random numbers, but its is_random() is false");
  return {.seed = walk_.options_.seed,
          .operation = hash(node_.name),
          .attempted_step = shared_input("attempted_step"),
          .sample_ids = shared_input("sample_ids")};
}

}  // namespace minim
