#include <gtest/gtest.h>

#include <cmath>

#include "launcher/files.h"
#include "launcher/rank_threads.h"
#include "launcher/tiny_run.h"
#include "minim/launcher/checkpoint.h"
#include "minim/launcher/safetensors.h"
#include "scratch_directory.h"

namespace minim {
namespace {

namespace fs = std::filesystem;
using testing::run_ranks;
using testing::ScratchDirectory;
using testing::Snapshot;
using testing::TinyRun;

/// A checkpoint of two ranks after three steps, and what they had in memory.
class SavedRun : public ::testing::Test {
 protected:
  void SetUp() override {
    run_ranks(2, [&](Communicator& communicator) {
      TinyRun tiny(communicator);
      tiny.train(3);
      CheckpointStore(run()).save(tiny.trainer(), tiny.extra());
      ranks_[static_cast<std::size_t>(communicator.rank())] = tiny.snapshot();
    });
  }
  const fs::path& run() const { return scratch_.path(); }
  CheckpointInfo info() const { return read_checkpoint_info(list_checkpoints(run()).back()); }
  float mean_state(const std::string& name, std::size_t i) const {
    return static_cast<float>((static_cast<double>(ranks_[0].states.at(name)[i]) + ranks_[1].states.at(name)[i]) / 2);
  }

  ScratchDirectory scratch_;
  std::array<Snapshot, 2> ranks_;
};

TEST_F(SavedRun, IsDescribed) {
  const CheckpointInfo found = info();
  EXPECT_EQ(found.step, 3);
  EXPECT_EQ(found.applied, 3);
  EXPECT_EQ(found.loss_scale, ranks_[0].step.loss_scale);
  EXPECT_EQ(found.world_size, 2);
  EXPECT_EQ(found.precision, "mixed");
  EXPECT_EQ(found.data_position, 36);
  EXPECT_EQ(found.model_configuration, "model = \"tiny\"\n");
  EXPECT_EQ(found.tensors.size(), ranks_[0].arrays.size() + ranks_[0].states.size());
}

TEST_F(SavedRun, HasItsTensorsReadWhole) {
  const CheckpointInfo found = info();
  for (const auto& [name, values] : ranks_[0].arrays) EXPECT_EQ(read_checkpoint_tensor(found, name), values) << name;
  for (const auto& [name, values] : ranks_[0].states) {
    const auto means = read_checkpoint_tensor(found, "state:" + name);
    ASSERT_EQ(means.size(), values.size());
    for (std::size_t i = 0; i < means.size(); ++i) EXPECT_EQ(means[i], mean_state(name, i)) << name;
  }
  EXPECT_THROW(read_checkpoint_tensor(found, "master:nothing"), InvalidArgument);
}

TEST_F(SavedRun, GivesAModelItsWeightsInTheLayoutAndTypeThatItHas) {
  const auto communicator = make_self_communicator();
  TinyRun tiny(*communicator);
  load_weights(info(), tiny.model(), tiny.backend());
  for (const auto& parameter : tiny.model().parameters()) {
    const auto& saved = ranks_[0].arrays.at("master:" + parameter->name);
    std::vector<float> physical(saved.size()), logical(saved.size());
    dispatch_floating(parameter->weight.dtype(), [&]<class T>(T) {
      const auto weight = parameter->weight.span<T>();
      for (std::size_t i = 0; i < weight.size(); ++i) physical[i] = to_float(weight[i]);
      to_logical(parameter->shape, parameter->layout, physical, logical);
      for (std::size_t i = 0; i < saved.size(); ++i) EXPECT_EQ(logical[i], to_float(round_to<T>(saved[i]))) << parameter->name;
    });
  }
  for (const auto& state : tiny.model().states()) {
    for (std::size_t i = 0; i < state->committed.span<float>().size(); ++i) {
      EXPECT_EQ(state->committed.span<float>()[i], mean_state(state->name, i)) << state->name;
    }
  }
  TinyRun other(*communicator, {.channels = 6});
  EXPECT_THROW(load_weights(info(), other.model(), other.backend()), InvalidArgument);
  TinyRun larger(*communicator, {.hidden = true});
  EXPECT_THROW(load_weights(info(), larger.model(), larger.backend()), InvalidArgument);
  TinyRun smaller(*communicator, {.batch_norm = false});
  EXPECT_THROW(load_weights(info(), smaller.model(), smaller.backend()), InvalidArgument);
}

TEST_F(SavedRun, IsExportedInFp32AndFp16UnderPlainNames) {
  const fs::path single = run() / "single.safetensors", half = run() / "half.safetensors";
  export_safetensors(info(), single, DType::fp32);
  export_safetensors(info(), half, DType::fp16);
  const SafetensorsReader singles(single), halves(half);
  const auto communicator = make_self_communicator();
  TinyRun tiny(*communicator);
  EXPECT_EQ(singles.entries().size(), tiny.model().parameters().size() + tiny.model().states().size());
  for (const auto& parameter : tiny.model().parameters()) {
    const auto& saved = ranks_[0].arrays.at("master:" + parameter->name);
    const auto* entry = singles.find(parameter->name);
    ASSERT_NE(entry, nullptr) << parameter->name;
    EXPECT_EQ(entry->shape, parameter->shape);
    std::vector<float> values(saved.size());
    singles.read(*entry, TensorView(values.data(), DType::fp32, parameter->shape));
    EXPECT_EQ(values, saved);
    std::vector<Half> rounded(saved.size());
    halves.read(*halves.find(parameter->name), TensorView(rounded.data(), DType::fp16, parameter->shape));
    for (std::size_t i = 0; i < saved.size(); ++i) EXPECT_EQ(rounded[i], to_half(saved[i]));
  }
  for (const auto& state : tiny.model().states()) EXPECT_NE(halves.find(state->name), nullptr);
}

TEST(Export, RefusesWhatFp16CannotHoldByTensorAndLeavesNoFile) {
  for (const float bad : {65520.0F, -1e6F, std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    const ScratchDirectory scratch;
    const auto communicator = make_self_communicator();
    TinyRun tiny(*communicator);
    const Parameter& parameter = *tiny.trainer().optimizer().parameters().front();
    auto values = tiny.trainer().optimizer().gather_array("master", parameter);
    values[2] = 65519.996F;  // the largest FP32 number that FP16 can still hold, rounded down
    tiny.trainer().optimizer().set_array("master", parameter, values);
    CheckpointStore(scratch.path()).save(tiny.trainer(), tiny.extra());
    const fs::path file = scratch.path() / "half.safetensors";
    const auto info = [&] { return read_checkpoint_info(list_checkpoints(scratch.path()).back()); };
    export_safetensors(info(), file, DType::fp16);
    fs::remove(file);

    values[2] = bad;
    tiny.trainer().optimizer().set_array("master", parameter, values);
    CheckpointStore(scratch.path()).save(tiny.trainer(), tiny.extra());
    try {
      export_safetensors(info(), file, DType::fp16);
      FAIL() << bad << " was exported";
    } catch (const NumericError& error) {
      EXPECT_NE(std::string(error.what()).find("\"" + parameter.name + "\": element 2"), std::string::npos) << error.what();
    }
    EXPECT_FALSE(fs::exists(file));
    EXPECT_FALSE(fs::exists(file.string() + ".partial"));
    export_safetensors(info(), file, DType::fp32);  // what FP32 can hold it does
    EXPECT_THROW(export_safetensors(info(), file, DType::bf16), InvalidArgument);
  }
}

TEST_F(SavedRun, CannotBeExportedToNowhere) {
  EXPECT_THROW(export_safetensors(info(), "/nonexistent/a.safetensors", DType::fp32), DataError);
}

}  // namespace
}  // namespace minim
