#pragma once

#include <filesystem>
#include <vector>

#include "minim/launcher/safetensors.h"
#include "minim/launcher/trainer.h"

namespace minim {

/// Weights and running statistics of a model in one safetensors file: every parameter and state under its name and logical shape,
/// FP32, FP16 or BF16, as `export_safetensors` writes them and PyTorch's `state_dict` has them. Counts of batches
/// ("bn1.num_batches_tracked"), which minim has no use for, are passed over.
class WeightsFile {
 public:
  /// Throws DataError where the file is damaged, InvalidArgument that names the tensor unless it is a file of this model.
  WeightsFile(const std::filesystem::path& file, const Model& model, AtWork at_work = {});

  /// Elements of a parameter or state, in logical order.
  std::vector<float> read(const std::string& name) const;

 private:
  void expect(const std::string& name, const Shape& shape) const;

  std::filesystem::path file_;
  SafetensorsReader reader_;
};

/// Sets weights and states of a model (placed in memory of `backend`), for evaluation without an optimizer.
void load_weights(const WeightsFile& file, Model& model, Backend& backend);
/// Sets this rank's part of weights and master weights, and the states, before the first step.
void load_weights(const WeightsFile& file, Trainer& trainer);

}  // namespace minim
