#include <fmt/format.h>

#include <algorithm>

#include "checkpoint_layout.h"
#include "checkpoint_reader.h"
#include "weights.h"

namespace minim {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStatePrefix = "state:";

CheckpointReader open(const CheckpointInfo& info, const AtWork& at_work = {}) {
  return {info.directory, read_manifest(info.directory), at_work};
}

}  // namespace

std::vector<fs::path> list_checkpoints(const fs::path& run) {
  const CheckpointLayout layout(run);
  std::vector<fs::path> directories;
  for (const std::int64_t step : layout.steps()) {
    std::error_code ignored;  // what cannot be looked at is listed, and whoever reads it learns why
    const fs::file_status manifest = fs::status(layout.final_name(step) / kManifestName, ignored);
    if (manifest.type() != fs::file_type::not_found) directories.push_back(layout.final_name(step));
  }
  return directories;
}

CheckpointInfo info_of(const fs::path& directory, const Manifest& manifest) {
  CheckpointInfo info;
  info.directory = directory;
  info.step = manifest.step();
  info.applied = manifest.phases.front().state.applied;
  info.loss_scale = manifest.phases.front().state.loss_scale;
  info.world_size = manifest.world_size;
  info.precision = manifest.precision;
  info.model_configuration = manifest.extra.configuration;
  info.data_position = manifest.extra.data_position;
  for (const auto* tensors : {&manifest.arrays, &manifest.states}) {
    for (const auto& tensor : *tensors) info.tensors.push_back({tensor.name, "F32", tensor.shape});
  }
  return info;
}

CheckpointInfo read_checkpoint_info(const fs::path& directory, const AtWork& at_work) {
  const Manifest manifest = read_manifest(directory);
  for (const auto& file : manifest.files) verify_file(directory, file, at_work);
  return info_of(directory, manifest);
}

std::vector<float> read_checkpoint_tensor(const CheckpointInfo& info, const std::string& name) {
  CheckpointReader reader = open(info);
  if (name.starts_with(kStatePrefix)) {
    if (const auto* state = reader.find_state(name.substr(kStatePrefix.size()))) return reader.mean_state(*state);
  } else if (const auto* array = reader.find_array(name)) {
    return reader.array(*array);
  }
  throw InvalidArgument(fmt::format("{}: has no tensor \"{}\"", info.directory.string(), name));
}

void load_weights(const CheckpointInfo& info, Model& model, Backend& backend, const AtWork& at_work) {
  CheckpointReader reader = open(info, at_work);
  for (const auto& parameter : model.parameters()) {
    reader.check_match(reader.find_evaluated(parameter->name), "weight:" + parameter->name, parameter->shape);
  }
  for (const auto& tensor : reader.manifest().arrays) {
    const std::string parameter = tensor.name.substr(tensor.name.find(':') + 1);
    const bool known = std::any_of(model.parameters().begin(), model.parameters().end(),
                                   [&parameter](const auto& candidate) { return candidate->name == parameter; });
    if (!known) throw_unknown_tensor(info.directory.string(), tensor.name, tensor.shape);
  }
  reader.check_states(model);
  for (const auto& parameter : model.parameters()) {
    set_weight(backend, *parameter, reader.array(*reader.find_evaluated(parameter->name)));
  }
  for (const auto& state : model.states()) set_state_values(backend, *state, reader.mean_state(*reader.find_state(state->name)));
}

}  // namespace minim
