#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "minim/runtime/parameter.h"

namespace minim {

/// The parameters and states of a network. Training, evaluation and decoding graphs are built over one model and share them by
/// name.
class Model {
 public:
  Model() = default;
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  /// The parameter of that name, added when new. Throws InvalidArgument that says what differs when it exists with another
  /// description, whatever its place in memory.
  Parameter& parameter(const Parameter& description);
  State& state(const State& description);

  /// In order of first use by the graphs, which is the order of buckets, checkpoints and collectives.
  const std::vector<std::unique_ptr<Parameter>>& parameters() const { return parameters_; }
  const std::vector<std::unique_ptr<State>>& states() const { return states_; }

  /// Sum of the logical elements of all parameters.
  std::int64_t parameter_count() const;

  /// Keeps the memory of a state for as long as the model lives; see place_states.
  void keep(Tensor memory) { memory_.push_back(std::move(memory)); }

 private:
  std::vector<std::unique_ptr<Parameter>> parameters_;
  std::vector<std::unique_ptr<State>> states_;
  std::vector<Tensor> memory_;
};

}  // namespace minim
