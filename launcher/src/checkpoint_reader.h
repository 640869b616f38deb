#pragma once

#include <map>

#include "checkpoint_manifest.h"
#include "minim/launcher/safetensors.h"

namespace minim {

/// Reads tensors of a checkpoint whose files have been verified. All tensors come as FP32 in logical order.
class CheckpointReader {
 public:
  CheckpointReader(std::filesystem::path directory, Manifest manifest, AtWork at_work);

  const Manifest& manifest() const { return manifest_; }
  const std::filesystem::path& directory() const { return directory_; }

  const ManifestTensor* find_array(const std::string& name) const;
  const ManifestTensor* find_state(const std::string& name) const;
  /// The weights of a parameter: "master:name", or "weight:name" where the optimizer had no master weights. Null: neither.
  const ManifestTensor* find_weights(const std::string& parameter) const;

  /// The weights that the run is evaluated with: "average:name" where it keeps averages, otherwise as find_weights.
  const ManifestTensor* find_evaluated(const std::string& parameter) const;

  std::vector<float> array(const ManifestTensor& tensor);
  std::vector<float> state(const ManifestTensor& tensor, int rank);
  std::vector<float> mean_state(const ManifestTensor& tensor);

  /// Throws InvalidArgument that names the tensor unless it is there with that shape. `wanted`: what the model has.
  void check_match(const ManifestTensor* found, const std::string& wanted, const Shape& shape) const;
  /// Checks all states of a model against those of the checkpoint, in both directions.
  void check_states(const Model& model) const;

 private:
  void read(const std::string& file, const std::string& tensor, std::span<float> out);

  std::filesystem::path directory_;
  Manifest manifest_;
  AtWork at_work_;
  std::map<std::string, SafetensorsReader> files_;
};

}  // namespace minim
