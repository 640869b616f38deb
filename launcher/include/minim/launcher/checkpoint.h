#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "minim/launcher/at_work.h"
#include "minim/launcher/trainer.h"

namespace minim {

/// What a checkpoint holds besides tensors and step states.
struct CheckpointExtra {
  std::int64_t data_position = 0;  ///< samples of the training stream that have been consumed by all ranks together
  std::string configuration;       ///< resolved configuration, TOML
  std::string note;                ///< why it was written: "interval", "signal", "end"
};

/// A checkpoint's manifest as read from disk, for inspection, evaluation and export.
struct CheckpointTensor {
  std::string name;   ///< "master:conv1.weight", "moment1:conv1.weight", "state:bn1.running_mean"
  std::string dtype;  ///< "F32"
  Shape shape;
};
struct CheckpointInfo {
  std::filesystem::path directory;
  std::int64_t step = 0, applied = 0;
  double loss_scale = 0;
  int world_size = 0;
  std::string precision;
  std::string model_configuration;  ///< as CheckpointExtra::configuration
  std::int64_t data_position = 0;
  std::vector<CheckpointTensor> tensors;
};

struct CheckpointOptions {
  int keep = 2;  ///< checkpoints that are left in place, at least 1; older ones are removed after a save
  AtWork at_work;  ///< besides the other ranks, who are told in any case
};

/// Checkpoints of a run: directories `checkpoints/step-00000120` with one safetensors shard per writing rank (logical parameter
/// ranges, loadable at any W), one of each rank's own states, and a JSON manifest with sizes and checksums, written last.
class CheckpointStore {
 public:
  CheckpointStore(std::filesystem::path run, CheckpointOptions options = {});

  /// Writes a checkpoint of the trainer. Collective; returns on every rank after all of it is on disk under its final name.
  /// On failure (disk full, no permission) every rank throws DataError naming the file; older checkpoints are intact. Throws what
  /// `Trainer::check_weights` throws, before anything is written.
  std::filesystem::path save(Trainer& trainer, const CheckpointExtra& extra);

  /// The newest checkpoint that is complete and undamaged, of whatever model. Collective: each rank checks a share of the files.
  /// Damaged ones are passed over; `refused` gets a sentence on each that names the file and what is wrong with it. Empty when
  /// there is none at all; throws DataError when there are checkpoints and none is sound.
  std::optional<CheckpointInfo> find_newest(Communicator& communicator, std::vector<std::string>& refused);

  /// Loads what `find_newest` finds; collective, and empty, passing over and throwing as it does. Throws InvalidArgument, before
  /// anything is changed, when the checkpoint is not of this run's model (names the tensor), update rule or seed. Precisions may
  /// differ: the weights are the FP32 master weights where there are some. The loss scale goes on where it was dynamic and is
  /// again; else it starts afresh.
  std::optional<CheckpointExtra> load_newest(Trainer& trainer, std::vector<std::string>& refused);

 private:
  AtWork at_work(Communicator& communicator) const;

  std::filesystem::path run_;
  CheckpointOptions options_;
};

/// Directories of all checkpoints of a run with a manifest, oldest first.
std::vector<std::filesystem::path> list_checkpoints(const std::filesystem::path& run);
/// Checks sizes and checksums of all files. Throws DataError that names the file, and the offset where it can, when anything is
/// missing, truncated or changed.
CheckpointInfo read_checkpoint_info(const std::filesystem::path& directory, const AtWork& at_work = {});
/// Elements of a tensor of a checkpoint, FP32, logical order; states are averaged over the ranks.
std::vector<float> read_checkpoint_tensor(const CheckpointInfo& info, const std::string& name);

/// Sets weights and states of a model (placed in memory of `backend`) from a checkpoint, for evaluation without an optimizer.
/// Throws InvalidArgument that names the tensor where the model is another.
void load_weights(const CheckpointInfo& info, Model& model, Backend& backend, const AtWork& at_work = {});

/// Writes the weights and states of a checkpoint as one safetensors file: `dtype` fp16 or fp32, logical shapes, plain names. The
/// file appears under its name when it is complete. Throws NumericError that names the tensor where a value does not fit into
/// FP16.
void export_safetensors(const CheckpointInfo& info, const std::filesystem::path& file, DType dtype);

}  // namespace minim
