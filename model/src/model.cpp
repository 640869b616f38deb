#include "minim/model/model.h"

#include <fmt/format.h>

#include "minim/runtime/error.h"

namespace minim {

namespace {

template <class T>
T* find(const std::vector<std::unique_ptr<T>>& all, const std::string& name) {
  for (const auto& entry : all) {
    if (entry->name == name) return entry.get();
  }
  return nullptr;
}

std::string text(const Shape& shape) { return shape.to_string(); }
std::string text(bool value) { return value ? "true" : "false"; }
std::string text(double value) { return fmt::format("{}", value); }
std::string text(const std::string& value) { return fmt::format("\"{}\"", value); }
std::string text(const Initializer& initializer) {
  constexpr const char* kKinds[] = {"constant", "normal", "uniform"};
  return fmt::format("{} {}", kKinds[static_cast<std::size_t>(initializer.kind)], initializer.value);
}

/// Throws InvalidArgument where two uses of the name in `who` differ.
template <class T>
void check_same(const std::string& who, const char* what, const T& existing, const T& wanted) {
  if (existing == wanted) return;
  throw InvalidArgument(
      fmt::format("{}: the model has it with {} {}, this use wants {}", who, what, text(existing), text(wanted)));
}

void check_same(const Parameter& existing, const Parameter& wanted) {
  const std::string who = fmt::format("parameter \"{}\"", wanted.name);
  check_same(who, "shape", existing.shape, wanted.shape);
  if (existing.layout != wanted.layout) {
    throw InvalidArgument(fmt::format("{}: the model has it with another order of dimensions in memory", who));
  }
  check_same(who, "initializer", existing.initializer, wanted.initializer);
  check_same(who, "keep_fp32", existing.keep_fp32, wanted.keep_fp32);
  check_same(who, "decay", existing.decay, wanted.decay);
  check_same(who, "group", existing.group, wanted.group);
}

void check_same(const State& existing, const State& wanted) {
  const std::string who = fmt::format("state \"{}\"", wanted.name);
  check_same(who, "shape", existing.shape, wanted.shape);
  check_same(who, "initial value", existing.initial, wanted.initial);
}

}  // namespace

Parameter& Model::parameter(const Parameter& description) {
  if (Parameter* existing = find(parameters_, description.name)) {
    check_same(*existing, description);
    return *existing;
  }
  return *parameters_.emplace_back(std::make_unique<Parameter>(description));
}

State& Model::state(const State& description) {
  if (State* existing = find(states_, description.name)) {
    check_same(*existing, description);
    return *existing;
  }
  return *states_.emplace_back(std::make_unique<State>(description));
}

std::int64_t Model::parameter_count() const {
  std::int64_t count = 0;
  for (const auto& parameter : parameters_) count += parameter->shape.elements();
  return count;
}

}  // namespace minim
