#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint_file.h"
#include "minim/launcher/checkpoint.h"

namespace minim {

inline constexpr const char* kManifestName = "manifest.json";

/// Elements [begin, end) of a tensor's logical order, held by a shard under the tensor's name.
struct ManifestPiece {
  std::string file;
  std::int64_t begin = 0, end = 0;
};

struct ManifestTensor {
  std::string name;  ///< "master:conv1.weight"
  Shape shape;
  std::vector<ManifestPiece> pieces;  ///< cover the tensor in order; none for states
};

struct ManifestFile {
  std::string name;
  FileSum sum;
};

struct ManifestPhase {
  std::string rule;             ///< `name` of the update rule
  std::string loss_scale_mode;  ///< "dynamic", "constant", "off"
  StepState state;
};

/// What `manifest.json` says. All tensors are FP32.
struct Manifest {
  int world_size = 1;
  std::string precision;
  std::uint64_t seed = 0;
  CheckpointExtra extra;
  std::vector<ManifestPhase> phases;
  std::vector<ManifestTensor> arrays;  ///< of parameters
  std::vector<ManifestTensor> states;  ///< in every rank's own file
  std::vector<ManifestFile> files;

  std::int64_t step() const { return phases.front().state.attempted; }
};

/// "shard-000-of-002.safetensors", "states-000-of-002.safetensors".
std::string shard_name(int rank, int world_size);
std::string states_name(int rank, int world_size);

std::string_view name(LossScaleMode mode);

/// The file's text. It ends in a CRC-32 of everything before, so that a change of any byte shows.
std::string to_text(const Manifest& manifest);
/// Throws DataError that names `directory`'s manifest. What is returned is consistent in itself: pieces cover their tensors, and
/// every file that is spoken of is listed.
Manifest read_manifest(const std::filesystem::path& directory);
/// The same from the text of a manifest; `path` is for errors.
Manifest parse_manifest(const std::string& text, const std::filesystem::path& path);

/// Throws DataError unless the file is there with the size and checksum that the manifest gives.
void verify_file(const std::filesystem::path& directory, const ManifestFile& file, const AtWork& at_work);

CheckpointInfo info_of(const std::filesystem::path& directory, const Manifest& manifest);

}  // namespace minim
