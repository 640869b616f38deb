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

template <class T>
void check_shape(std::string_view kind, const T& existing, const T& wanted) {
  if (existing.shape == wanted.shape) return;
  throw InvalidArgument(fmt::format("{} \"{}\": the model has it with shape {}, this use wants {}", kind, wanted.name,
                                    existing.shape.to_string(), wanted.shape.to_string()));
}

}  // namespace

Parameter& Model::parameter(const Parameter& description) {
  if (Parameter* existing = find(parameters_, description.name)) {
    check_shape("parameter", *existing, description);
    if (existing->layout != description.layout) {
      throw InvalidArgument(
          fmt::format("parameter \"{}\": the model has it with another order of dimensions in memory", description.name));
    }
    return *existing;
  }
  return *parameters_.emplace_back(std::make_unique<Parameter>(description));
}

State& Model::state(const State& description) {
  if (State* existing = find(states_, description.name)) {
    check_shape("state", *existing, description);
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
