#include <fmt/format.h>

#include <algorithm>

#include "checkpoint_collective.h"
#include "checkpoint_layout.h"
#include "checkpoint_manifest.h"
#include "minim/launcher/safetensors.h"
#include "minim/runtime/transfer.h"

namespace minim {
namespace {

namespace fs = std::filesystem;

/// One array of one parameter of one phase.
struct Array {
  ShardedOptimizer* optimizer;
  std::string name;
  const Parameter* parameter;

  std::string tensor() const { return name + ":" + parameter->name; }
};

/// In the order of the collectives that gather them, the same on all ranks.
std::vector<Array> arrays_of(Trainer& trainer) {
  std::vector<Array> arrays;
  for (int phase = 0; phase < trainer.phases(); ++phase) {
    ShardedOptimizer& optimizer = trainer.optimizer(phase);
    for (const std::string& name : optimizer.array_names()) {
      for (const Parameter* parameter : optimizer.parameters()) arrays.push_back({&optimizer, name, parameter});
    }
  }
  return arrays;
}

/// First element of rank r's range of n logical elements; of rank r + 1: its end.
std::int64_t range_begin(std::int64_t elements, int rank, int world_size) { return elements * rank / world_size; }

/// Everything but the files' sums.
Manifest describe(Trainer& trainer, const CheckpointExtra& extra) {
  Manifest manifest;
  const int world_size = manifest.world_size = trainer.communicator().size();
  manifest.precision = name(trainer.options().precision);
  manifest.seed = trainer.options().seed;
  manifest.extra = extra;
  for (int phase = 0; phase < trainer.phases(); ++phase) {
    const OptimizerConfig& config = trainer.optimizer(phase).config();
    manifest.phases.push_back({std::string(name(config.rule)), std::string(name(config.loss_scale.mode)), trainer.state(phase)});
  }
  for (const Array& array : arrays_of(trainer)) {
    ManifestTensor tensor{array.tensor(), array.parameter->shape, {}};
    const std::int64_t elements = tensor.shape.elements();
    for (int rank = 0; rank < world_size; ++rank) {
      const ManifestPiece piece{shard_name(rank, world_size), range_begin(elements, rank, world_size),
                                range_begin(elements, rank + 1, world_size)};
      if (piece.begin < piece.end) tensor.pieces.push_back(piece);
    }
    manifest.arrays.push_back(std::move(tensor));
  }
  for (const auto& state : trainer.model().states()) manifest.states.push_back({"state:" + state->name, state->shape, {}});
  for (int rank = 0; rank < world_size; ++rank) {
    manifest.files.push_back({shard_name(rank, world_size), {}});
    manifest.files.push_back({states_name(rank, world_size), {}});
  }
  return manifest;
}

/// Writes this rank's ranges of all arrays. Takes part in the gathers also after a failure of its own.
FileSum write_shard(Trainer& trainer, const fs::path& directory, const AtWork& at_work, Attempt& attempt) {
  const Communicator& communicator = trainer.communicator();
  const int rank = communicator.rank();
  const auto range = [&](std::int64_t elements) {
    return std::pair(range_begin(elements, rank, communicator.size()), range_begin(elements, rank + 1, communicator.size()));
  };
  const std::vector<Array> arrays = arrays_of(trainer);
  std::vector<SafetensorsWriter::Declaration> declarations;
  for (const Array& array : arrays) {
    const auto [begin, end] = range(array.parameter->shape.elements());
    if (begin < end) declarations.push_back({array.tensor(), DType::fp32, Shape{end - begin}});
  }
  std::optional<SafetensorsWriter> writer;
  attempt([&] {
    writer.emplace(directory / shard_name(rank, communicator.size()), std::move(declarations),
                   std::map<std::string, std::string>{{"format", "minim checkpoint shard"}}, at_work);
  });
  for (const Array& array : arrays) {
    std::vector<float> all = array.optimizer->gather_array(array.name, *array.parameter);
    const auto [begin, end] = range(static_cast<std::int64_t>(all.size()));
    if (begin < end) attempt([&, b = begin, e = end] { writer->write(TensorView(all.data() + b, DType::fp32, Shape{e - b})); });
  }
  FileSum sum;
  attempt([&] { std::tie(sum.size_bytes, sum.crc32) = writer->close(); });
  return sum;
}

FileSum write_states(Trainer& trainer, const fs::path& directory, const AtWork& at_work) {
  const Communicator& communicator = trainer.communicator();
  std::vector<SafetensorsWriter::Declaration> declarations;
  for (const auto& state : trainer.model().states()) declarations.push_back({"state:" + state->name, DType::fp32, state->shape});
  trainer.stream().synchronize();
  SafetensorsWriter writer(directory / states_name(communicator.rank(), communicator.size()), std::move(declarations),
                           {{"format", "minim checkpoint states"}}, at_work);
  for (const auto& state : trainer.model().states()) {
    std::vector<float> values(static_cast<std::size_t>(state->shape.elements()));
    download(trainer.backend(), state->committed, values);
    writer.write(TensorView(values.data(), DType::fp32, state->shape));
  }
  const auto [size_bytes, crc32] = writer.close();
  return {size_bytes, crc32};
}

/// Writes this rank's files and fills in the sums of all ranks' files. Collective.
void write_files(Trainer& trainer, const fs::path& directory, const AtWork& at_work, Manifest& manifest) {
  Communicator& communicator = trainer.communicator();
  const auto rank = static_cast<std::size_t>(communicator.rank());
  Attempt attempt;
  manifest.files[2 * rank].sum = write_shard(trainer, directory, at_work, attempt);
  attempt([&] { manifest.files[2 * rank + 1].sum = write_states(trainer, directory, at_work); });
  agree_on_errors(communicator, attempt.error());

  std::vector<std::int64_t> sums(manifest.files.size() * 2);
  for (const std::size_t file : {2 * rank, 2 * rank + 1}) {
    sums[2 * file] = manifest.files[file].sum.size_bytes;
    sums[2 * file + 1] = manifest.files[file].sum.crc32;
  }
  const TensorView view(sums.data(), DType::int64, Shape{static_cast<std::int64_t>(sums.size())});
  communicator.all_gather(view, {.label = "sizes and checksums of a checkpoint", .after = {}}).wait();
  for (std::size_t file = 0; file < manifest.files.size(); ++file) {
    manifest.files[file].sum = {sums[2 * file], static_cast<std::uint32_t>(sums[2 * file + 1])};
  }
}

void make_partial(const CheckpointLayout& layout, const fs::path& partial, const AtWork& at_work) {
  std::error_code failure;
  fs::create_directories(layout.root(), failure);
  check_system(failure, "create directory", layout.root());
  layout.remove_partial(at_work);
  fs::create_directory(partial, failure);
  check_system(failure, "create directory", partial);
}

void publish(const CheckpointLayout& layout, const fs::path& partial, const Manifest& manifest, const AtWork& at_work) {
  const std::string text = to_text(manifest);
  OutputFile file(partial / kManifestName);
  file.write(std::as_bytes(std::span(text)));
  file.close();
  sync_directory(partial);
  replace_directory(partial, layout.final_name(manifest.step()), at_work);
  sync_directory(layout.root());
  sync_directory(layout.root().parent_path());
}

/// Removes all but the newest up to `step`. Later ones are what a run left that was taken up again further back: refused when it
/// was, and not ours to remove. The save has succeeded by now; what cannot be removed stays.
void prune(const CheckpointLayout& layout, std::int64_t step, int keep, const AtWork& at_work) {
  std::vector<std::int64_t> steps;
  try {
    steps = layout.steps();
  } catch (const DataError&) {
    return;  // on this rank alone: the others go on
  }
  std::erase_if(steps, [step](std::int64_t other) { return other > step; });
  for (std::size_t i = 0; i + static_cast<std::size_t>(keep) < steps.size(); ++i) {
    std::error_code ignored;
    // Under another name first: a removal that is cut off must not leave what looks like a damaged checkpoint.
    const fs::path aside = layout.partial_name(steps[i]);
    fs::rename(layout.final_name(steps[i]), aside, ignored);
    remove_directory(aside, at_work);
  }
}

}  // namespace

CheckpointStore::CheckpointStore(fs::path run, CheckpointOptions options) : run_(std::move(run)), options_(options) {
  if (options_.keep < 1) throw InvalidArgument(fmt::format("checkpoints to keep: {}, wanted at least 1", options_.keep));
}

AtWork CheckpointStore::at_work(Communicator& communicator) const {
  return [&communicator, also = options_.at_work] {
    communicator.keep_alive();
    if (also) also();
  };
}

fs::path CheckpointStore::save(Trainer& trainer, const CheckpointExtra& extra) {
  trainer.check_weights();  // no later step will tell
  Communicator& communicator = trainer.communicator();
  const CheckpointLayout layout(run_);
  const fs::path partial = layout.partial_name(trainer.attempted());
  const AtWork working = at_work(communicator);
  Manifest manifest = describe(trainer, extra);
  try {
    on_root(communicator, [&] { make_partial(layout, partial, working); });
    write_files(trainer, partial, working, manifest);
    on_root(communicator, [&] { publish(layout, partial, manifest, working); });
  } catch (...) {
    std::error_code ignored;
    if (communicator.rank() == 0) fs::remove_all(partial, ignored);
    throw;
  }
  if (communicator.rank() == 0) prune(layout, manifest.step(), options_.keep, working);
  return layout.final_name(manifest.step());
}

}  // namespace minim
