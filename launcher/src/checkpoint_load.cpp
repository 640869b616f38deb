#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "checkpoint_collective.h"
#include "checkpoint_layout.h"
#include "checkpoint_reader.h"
#include "weights.h"

namespace minim {
namespace {

namespace fs = std::filesystem;

/// Rank 0's list of steps, newest first, on all ranks. Collective.
std::vector<std::int64_t> shared_candidates(Communicator& communicator, const CheckpointLayout& layout) {
  std::vector<std::int64_t> steps;
  on_root(communicator, [&] { steps = layout.steps(); });
  auto count = static_cast<std::int64_t>(steps.size());
  communicator.broadcast(TensorView(&count, DType::int64, Shape{1}), 0, {.label = "number of checkpoints", .after = {}}).wait();
  steps.resize(static_cast<std::size_t>(count));
  communicator.broadcast(TensorView(steps.data(), DType::int64, Shape{count}), 0, {.label = "checkpoints", .after = {}}).wait();
  std::reverse(steps.begin(), steps.end());
  return steps;
}

/// Which of `ranks` checks each file: the largest files first, each by whom has least to read. The same on all ranks.
std::vector<int> checkers_of(const std::vector<ManifestFile>& files, int ranks) {
  std::vector<std::size_t> order(files.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&files](std::size_t a, std::size_t b) { return files[a].sum.size_bytes > files[b].sum.size_bytes; });
  std::vector<std::int64_t> load_bytes(static_cast<std::size_t>(ranks));
  std::vector<int> checkers(files.size());
  for (const std::size_t file : order) {
    const auto least = std::min_element(load_bytes.begin(), load_bytes.end());
    *least += files[file].sum.size_bytes;
    checkers[file] = static_cast<int>(least - load_bytes.begin());
  }
  return checkers;
}

/// Reads the manifest on rank 0 and checks all files, a share on each rank. Collective. Returns the manifest, or nothing and what
/// is wrong, the same on all ranks.
std::optional<Manifest> verify(Communicator& communicator, const fs::path& directory, const AtWork& at_work,
                               std::string& refusal) {
  const fs::path path = directory / kManifestName;
  Attempt attempt;
  std::string text;
  std::optional<Manifest> manifest;
  if (communicator.rank() == 0) {
    attempt([&] {
      text = read_text(path);
      manifest = parse_manifest(text, path);
    });
  }
  refusal = broadcast_text(communicator, attempt.error().text, 0);
  if (!refusal.empty()) return {};
  text = broadcast_text(communicator, std::move(text), 0);
  if (communicator.rank() != 0) attempt([&] { manifest = parse_manifest(text, path); });
  attempt([&] {
    const std::vector<int> checkers = checkers_of(manifest->files, communicator.size());
    for (std::size_t i = 0; i < checkers.size(); ++i) {
      if (checkers[i] == communicator.rank()) verify_file(directory, manifest->files[i], at_work);
    }
  });
  refusal = first_text(communicator, attempt.error().text);
  if (!refusal.empty()) return {};
  return manifest;
}

bool is_weights(const std::string& array) { return array == "master" || array == "weight"; }

const ManifestTensor* find(const CheckpointReader& reader, const std::string& array, const Parameter& parameter) {
  return is_weights(array) ? reader.find_weights(parameter.name) : reader.find_array(array + ":" + parameter.name);
}

/// Throws InvalidArgument unless the checkpoint is one of this model, with this rule and seed. Changes nothing; the same on all
/// ranks.
void check_match(const CheckpointReader& reader, Trainer& trainer) {
  const Manifest& manifest = reader.manifest();
  const auto refuse = [&reader](const std::string& text) {
    throw InvalidArgument(fmt::format("{}: {}", reader.directory().string(), text));
  };
  if (static_cast<int>(manifest.phases.size()) != trainer.phases()) {
    refuse(fmt::format("has {} phases, the trainer has {}", manifest.phases.size(), trainer.phases()));
  }
  if (manifest.seed != trainer.options().seed) {
    refuse(fmt::format("was made with seed {}, this run has {}: the samples would be others", manifest.seed,
                       trainer.options().seed));
  }
  std::set<std::string> used;
  for (int phase = 0; phase < trainer.phases(); ++phase) {
    ShardedOptimizer& optimizer = trainer.optimizer(phase);
    const auto rule = name(optimizer.config().rule);
    const auto& saved_rule = manifest.phases[static_cast<std::size_t>(phase)].rule;
    if (saved_rule != rule) refuse(fmt::format("was trained with {}, this run has {}", saved_rule, rule));
    for (const std::string& array : optimizer.array_names()) {
      for (const Parameter* parameter : optimizer.parameters()) {
        const ManifestTensor* tensor = find(reader, array, *parameter);
        reader.check_match(tensor, array + ":" + parameter->name, parameter->shape);
        used.insert(tensor->name);
      }
    }
  }
  for (const auto& tensor : manifest.arrays) {
    if (!used.contains(tensor.name)) {
      refuse(fmt::format("holds \"{}\" of shape {}, which this run's model and update rule do not have", tensor.name,
                         tensor.shape.to_string()));
    }
  }
  reader.check_states(trainer.model());
}

/// The saved state as this run goes on with it. The mode is off wherever the precision has no use for a loss scale.
StepState resumed_state(const ManifestPhase& saved, const ShardedOptimizer& optimizer) {
  StepState state = saved.state;
  state.stop = 0;  // the run that was asked to stop has stopped
  const LossScaleConfig& config = optimizer.config().loss_scale;
  const float fresh = optimizer.state().loss_scale;
  if (saved.loss_scale_mode == name(config.mode)) {
    if (config.mode == LossScaleMode::dynamic) {
      state.loss_scale = std::clamp(state.loss_scale, config.minimum, config.maximum);
      return state;
    }
    if (state.loss_scale == fresh) return state;  // skips in a row count on
  }
  state.loss_scale = fresh;
  state.good_steps = state.consecutive_skips = state.probing = 0;
  return state;
}

void restore(CheckpointReader& reader, Trainer& trainer) {
  trainer.stream().synchronize();
  for (int phase = 0; phase < trainer.phases(); ++phase) {
    ShardedOptimizer& optimizer = trainer.optimizer(phase);
    for (const std::string& array : optimizer.array_names()) {
      for (const Parameter* parameter : optimizer.parameters()) {
        optimizer.set_array(array, *parameter, reader.array(*find(reader, array, *parameter)));
      }
    }
    optimizer.set_state(resumed_state(reader.manifest().phases[static_cast<std::size_t>(phase)], optimizer));
  }
  const Communicator& communicator = trainer.communicator();
  const bool same_world = reader.manifest().world_size == communicator.size();
  for (const auto& state : trainer.model().states()) {
    const ManifestTensor& tensor = *reader.find_state(state->name);
    set_state_values(trainer.backend(), *state,
                     same_world ? reader.state(tensor, communicator.rank()) : reader.mean_state(tensor));
  }
}

/// The newest checkpoint that is sound. Collective; throws DataError when there are some and none is.
std::optional<CheckpointReader> find_sound(Communicator& communicator, const CheckpointLayout& layout, const AtWork& at_work,
                                           std::vector<std::string>& refused) {
  const auto candidates = shared_candidates(communicator, layout);
  for (const std::int64_t step : candidates) {
    const fs::path directory = layout.final_name(step);
    std::string refusal;
    auto manifest = verify(communicator, directory, at_work, refusal);
    if (manifest) return CheckpointReader(directory, std::move(*manifest), at_work);
    refused.push_back(std::move(refusal));
  }
  if (candidates.empty()) return {};
  throw DataError(fmt::format("{}: none of {} checkpoints can be used; the newest: {}", layout.root().string(), candidates.size(),
                              refused[refused.size() - candidates.size()]));
}

}  // namespace

std::optional<CheckpointInfo> CheckpointStore::find_newest(Communicator& communicator, std::vector<std::string>& refused) {
  const auto found = find_sound(communicator, CheckpointLayout(run_), at_work(communicator), refused);
  if (!found) return {};
  return info_of(found->directory(), found->manifest());
}

std::optional<CheckpointExtra> CheckpointStore::load_newest(Trainer& trainer, std::vector<std::string>& refused) {
  Communicator& communicator = trainer.communicator();
  auto found = find_sound(communicator, CheckpointLayout(run_), at_work(communicator), refused);
  if (!found) return {};
  check_match(*found, trainer);
  Attempt attempt;
  attempt([&] { restore(*found, trainer); });
  agree_on_errors(communicator, attempt.error());
  return found->manifest().extra;
}

}  // namespace minim
