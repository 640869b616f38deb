#pragma once

#include <array>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "command/exponent_counts.h"

namespace minim::command {

enum class TensorKind : std::uint8_t { activation, activation_gradient, weight, weight_gradient };
inline constexpr std::array<const char*, 4> kTensorKinds = {"activation", "activation gradient", "weight", "weight gradient"};
inline const char* name(TensorKind kind) { return kTensorKinds[static_cast<std::size_t>(kind)]; }
/// Whether the loss scale multiplies it.
inline bool is_gradient(TensorKind kind) {
  return kind == TensorKind::activation_gradient || kind == TensorKind::weight_gradient;
}

/// The values that a tensor had on all ranks in one step, computed in FP32, gradients without a loss scale.
struct InspectedTensor {
  std::string layer;  ///< "conv1"; of weights the operation that uses them first
  std::string type;   ///< "conv2d"
  std::string name;   ///< "conv1", of weights "conv1.weight"
  TensorKind kind = TensorKind::activation;
  ExponentCounts counts;
};

/// What a step did to a parameter's master weights.
struct WeightUpdate {
  std::string parameter;
  double update_norm = 0;  ///< ||w after - w before||; 0 where the step was skipped
  double weight_norm = 0;  ///< ||w before||
};

/// What a run's numbers were like in one step.
struct Inspection {
  std::int64_t step = 0;  ///< attempted steps, this one included
  bool applied = false;
  std::string precision;                 ///< of the run
  double loss_scale = 1;                 ///< S of the run in this step, a power of two
  std::vector<InspectedTensor> tensors;  ///< in the order of the network, and for each layer of the kinds
  std::vector<WeightUpdate> updates;     ///< in the model's order

  int log2_scale() const;
};

/// Adds a line of JSON to the file. Throws DataError that names it.
void append_inspection(const std::filesystem::path& file, const Inspection& inspection);
/// All inspections of a run, in the order of steps; a last line that is not whole is left out. Throws DataError that names file
/// and line.
std::vector<Inspection> read_inspections(const std::filesystem::path& file);

}  // namespace minim::command
