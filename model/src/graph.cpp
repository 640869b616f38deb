#include "minim/model/graph.h"

#include <fmt/format.h>

#include <algorithm>

#include "minim/runtime/error.h"

namespace minim {

namespace {

bool has_name(const std::vector<Graph::NamedValue>& values, const std::string& name) {
  return std::ranges::any_of(values, [&](const auto& value) { return value.name == name; });
}

bool same_first_dimension(const Shape& a, const Shape& b) { return a.rank() > 0 && b.rank() > 0 && a[0] == b[0]; }

}  // namespace

Graph::Graph(Model& model, Mode mode) : model_(&model), mode_(mode) {}

Value Graph::input(const std::string& name, ElementType element, Shape shape, std::optional<Value> valid_samples) {
  if (has_name(inputs_, name)) throw InvalidArgument(fmt::format("the graph has an input \"{}\" already", name));
  if (valid_samples) {
    const ValueSpec& count = spec(*valid_samples);
    if (count.shape != Shape{1} || count.element != ElementType::int32) {
      throw InvalidArgument(fmt::format("input \"{}\": its count of valid samples has shape {}, wanted int32 of shape [1]", name,
                                        count.shape.to_string()));
    }
  }
  const Value value{static_cast<int>(specs_.size())};
  specs_.push_back({shape, element});
  valid_samples_.push_back(valid_samples ? valid_samples->id : -1);
  inputs_.push_back({name, value});
  return value;
}

void Graph::output(const std::string& name, Value value) {
  spec(value);
  if (has_name(outputs_, name)) throw InvalidArgument(fmt::format("the graph has an output \"{}\" already", name));
  outputs_.push_back({name, value});
}

const ValueSpec& Graph::spec(Value value) const {
  if (value.id < 0 || value.id >= static_cast<int>(specs_.size())) {
    throw InvalidArgument(fmt::format("value {} is not of this graph, which has {} values", value.id, specs_.size()));
  }
  return specs_[static_cast<std::size_t>(value.id)];
}

std::optional<Value> Graph::valid_samples(Value value) const {
  spec(value);
  const int id = valid_samples_[static_cast<std::size_t>(value.id)];
  return id < 0 ? std::nullopt : std::optional<Value>(Value{id});
}

std::vector<Value> Graph::add(const std::string& name, std::unique_ptr<Operation> operation, std::vector<Value> inputs,
                              std::vector<Parameter*> parameters, std::vector<State*> states) {
  if (!operation) throw InvalidArgument(fmt::format("\"{}\": no operation was given", name));
  const auto fail = [&](std::string_view why) {
    throw InvalidArgument(fmt::format("{} \"{}\": {}", operation->type(), name, why));
  };
  if (std::ranges::any_of(nodes_, [&](const Node& node) { return node.name == name; }))
    fail("the graph has an operation of that name");
  if (std::ranges::count(parameters, nullptr) + std::ranges::count(states, nullptr) != 0) fail("a parameter or state is missing");

  const std::vector<ValueSpec> outputs = infer(name, *operation, inputs);
  int valid = -1;
  Shape counted;
  for (const Value input : inputs) {
    const int count = valid_samples_[static_cast<std::size_t>(input.id)];
    if (count < 0) continue;
    if (valid >= 0 && count != valid) fail("its inputs have different counts of valid samples");
    valid = count;
    counted = spec(input).shape;
  }
  if (operation->is_random() && mode_ == Mode::training) {
    shared_input("attempted_step", ElementType::int64, Shape{1});
    shared_input("sample_ids", ElementType::int64, Shape{Shape::kBatch});
  }

  Node node{name, std::move(operation), std::move(inputs), {}, std::move(parameters), std::move(states)};
  for (const ValueSpec& output : outputs) {
    node.outputs.push_back({static_cast<int>(specs_.size())});
    specs_.push_back(output);
    valid_samples_.push_back(same_first_dimension(output.shape, counted) ? valid : -1);
  }
  return nodes_.emplace_back(std::move(node)).outputs;
}

std::vector<ValueSpec> Graph::infer(const std::string& name, const Operation& operation, std::span<const Value> inputs) const {
  std::vector<ValueSpec> specs;
  for (const Value input : inputs) specs.push_back(spec(input));
  try {
    return operation.infer(specs);
  } catch (const InvalidArgument& error) {
    throw InvalidArgument(fmt::format("{} \"{}\": {}", operation.type(), name, error.what()));
  }
}

Value Graph::shared_input(const std::string& name, ElementType element, Shape shape) {
  for (const NamedValue& existing : inputs_) {
    if (existing.name != name) continue;
    const ValueSpec& found = spec(existing.value);
    if (found.element != element || found.shape != shape) {
      throw InvalidArgument(fmt::format("input \"{}\" has shape {}, random operations want int64 of shape {}", name,
                                        found.shape.to_string(), shape.to_string()));
    }
    return existing.value;
  }
  return input(name, element, shape);
}

}  // namespace minim
