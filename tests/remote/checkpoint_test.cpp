#include "minim/launcher/checkpoint.h"

#include <gtest/gtest.h>

#include <set>

#include "launcher/files.h"
#include "launcher/tiny_run.h"
#include "remote/bits.h"
#include "remote/remote_backend.h"
#include "scratch_directory.h"

namespace minim::testing {
namespace {

namespace fs = std::filesystem;

void append_snapshot(std::string& bits, TinyRun& tiny) {
  const Snapshot snapshot = tiny.snapshot();
  for (const auto* tensors : {&snapshot.arrays, &snapshot.states}) {
    for (const auto& [name, values] : *tensors) append(bits, values);
  }
  append(bits, snapshot.step);
}

void append_files(std::string& bits, const fs::path& directory) {
  std::set<fs::path> files;
  for (const auto& entry : fs::directory_iterator(directory)) files.insert(entry.path());
  for (const fs::path& file : files) bits += file.filename().string() + read_file(file);
}

/// What a model without an optimizer gets from a checkpoint, and the checkpoint as one file.
void append_exports(std::string& bits, const CheckpointInfo& info, TinyRun& tiny, const fs::path& file) {
  load_weights(info, tiny.model(), tiny.backend());
  for (const auto& parameter : tiny.model().parameters()) {
    std::vector<float> weights(static_cast<std::size_t>(parameter->weight.elements()));
    download(tiny.backend(), parameter->weight, weights);
    append(bits, weights);
  }
  export_safetensors(info, file, DType::fp16);
  bits += read_file(file);
}

TEST(RemoteCheckpoint, IsSavedLoadedAndExportedBitForBit) {
  for (const int ranks : {1, 2}) {
    const ScratchDirectory scratch;
    expect_the_same_behind_the_wall(ranks, [&](Communicator& communicator, const MakeBackend& make_backend) {
      const TinyOptions options{.rule = AdamRule{}, .make_backend = make_backend};
      const fs::path run = scratch.path() / std::string(make_backend()->name());
      std::string bits;
      TinyRun tiny(communicator, options);
      tiny.train(3);
      const fs::path saved = CheckpointStore(run).save(tiny.trainer(), tiny.extra());
      append_files(bits, saved);
      tiny.train(2);
      append_snapshot(bits, tiny);

      TinyRun resumed(communicator, options);
      std::vector<std::string> refused;
      EXPECT_TRUE(CheckpointStore(run).load_newest(resumed.trainer(), refused).has_value());
      resumed.train(2);
      append_snapshot(bits, resumed);

      TinyRun loaded(communicator, options);
      const fs::path file = run / ("export " + std::to_string(communicator.rank()));
      append_exports(bits, read_checkpoint_info(saved), loaded, file);
      return bits;
    });
  }
}

}  // namespace
}  // namespace minim::testing
