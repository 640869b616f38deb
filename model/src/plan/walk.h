#pragma once

#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "minim/model/graph.h"
#include "minim/model/plan.h"
#include "plan/storage.h"

namespace minim {

/// Output storage of a kernel and the input storage that it may be written over.
struct InPlace {
  int output = -1;
  int input = -1;
};

/// Visits all operations of a graph forward and, for training graphs, backward, and offers each a PlanContext. Storages are
/// numbered in the order in which they are asked for, so that two walks over one graph agree on all numbers.
class Walk {
 public:
  Walk(const Graph& graph, const Backend& backend, const CompileOptions& options);
  virtual ~Walk() = default;
  Walk(const Walk&) = delete;
  Walk& operator=(const Walk&) = delete;

  void run();

 protected:
  /// Whose kernel is being emitted.
  struct Site {
    int node = -1;
    bool backward = false;
    std::vector<InPlace> in_place;
  };

  /// The address behind the views of a storage in this walk.
  virtual void* address(int storage) = 0;
  virtual void add_kernel(const Site& site, const ErasedKernel& kernel) = 0;
  /// All kernels that write an output of the site's operation, or in backward the gradient of it, have been added.
  virtual void complete(const Site& /*site*/, int /*output*/, const Slot& /*tensor*/) {}

  const Storage& storage(int id) const { return storages_[static_cast<std::size_t>(id)]; }
  const std::vector<Storage>& storages() const { return storages_; }
  const std::vector<Slot>& values() const { return values_; }
  TensorView view(const Slot& slot) { return {address(slot.storage), slot.dtype, slot.shape}; }

 private:
  class Context;
  using Key = std::pair<int, int>;  // node; slot or input

  void add_values();
  void forward(int node);
  void backward(int node);
  bool wants_backward(int node) const;
  void complete_gradient(int node, Value value);
  bool trains(const Parameter& parameter) const;
  bool differentiable(Value value) const { return differentiable_[static_cast<std::size_t>(value.id)]; }

  const Graph::Node& node(int i) const { return graph_.nodes()[static_cast<std::size_t>(i)]; }
  Slot& value(Value v) { return values_[static_cast<std::size_t>(v.id)]; }
  std::optional<Slot>& gradient(Value v) { return gradients_[static_cast<std::size_t>(v.id)]; }
  std::vector<Slot>& contributions(Value v) { return contributions_[static_cast<std::size_t>(v.id)]; }

  int add_storage(Storage storage);
  Slot add_tensor(int node, DType dtype, const Shape& shape, Storage::Kind kind);
  Slot weight(const Parameter& parameter);
  Slot weight_gradient(const Parameter& parameter);
  const State& state(const State& description);
  DType dtype(const Parameter& parameter) const;
  DType dtype(ElementType element) const;

  const Graph& graph_;
  const Backend& backend_;
  const CompileOptions& options_;
  std::vector<Storage> storages_;
  std::vector<Slot> values_;
  std::vector<bool> differentiable_;              // per value: computed from parameters that are trained
  std::vector<std::vector<Slot>> contributions_;  // per value: what its consumers add to its gradient
  std::vector<std::optional<Slot>> gradients_;    // per value, once all its consumers have been visited
  std::map<Key, Slot> saved_;
  std::map<Key, Slot> input_gradients_;
  std::map<const Parameter*, Slot> weights_;
  std::map<const Parameter*, Slot> weight_gradients_;
  std::map<const State*, State> states_;
  std::optional<Slot> loss_scale_;
};

}  // namespace minim
