#include "minim/launcher/weights_file.h"

#include <gtest/gtest.h>

#include "launcher/rank_threads.h"
#include "launcher/tiny_run.h"
#include "minim/runtime/transfer.h"
#include "scratch_directory.h"

namespace minim {
namespace {

namespace fs = std::filesystem;
using testing::run_ranks;
using testing::ScratchDirectory;
using testing::Snapshot;
using testing::TinyRun;

/// A tensor for a file: every element is a multiple of 1/8 that FP16 and BF16 hold.
struct Named {
  std::string name;
  Shape shape;
  DType dtype = DType::fp32;

  std::vector<float> values() const {
    std::vector<float> values;
    for (std::int64_t i = 0; i < shape.elements(); ++i) values.push_back(static_cast<float>((i + shape.rank()) % 13 - 6) / 8);
    return values;
  }
};

std::vector<Named> tensors_of(const Model& model) {
  std::vector<Named> tensors;
  for (const auto& parameter : model.parameters()) tensors.push_back({parameter->name, parameter->shape});
  for (const auto& state : model.states()) tensors.push_back({state->name, state->shape});
  return tensors;
}

class WeightsFileTest : public ::testing::Test {
 protected:
  fs::path write(const std::vector<Named>& tensors) const {
    std::vector<SafetensorsWriter::Declaration> declarations;
    for (const Named& tensor : tensors) declarations.push_back({tensor.name, tensor.dtype, tensor.shape});
    const fs::path file = scratch_.path() / "w.safetensors";
    SafetensorsWriter writer(file, declarations, {});
    for (const Named& tensor : tensors) {
      const Tensor stored = tiny_.backend().allocate_tensor(tensor.dtype, tensor.shape, MemoryKind::workspace);
      if (tensor.dtype != DType::int64) upload(tiny_.backend(), tensor.values(), stored);
      writer.write(stored);
    }
    writer.close();
    return file;
  }
  std::string refusal(const std::vector<Named>& tensors) {
    const fs::path file = write(tensors);
    try {
      const WeightsFile weights(file, tiny_.model());
    } catch (const InvalidArgument& error) {
      return std::string(error.what()).substr(file.string().size());
    }
    return "accepted";
  }

  ScratchDirectory scratch_;
  std::unique_ptr<Communicator> communicator_ = make_self_communicator();
  mutable TinyRun tiny_{*communicator_};
};

TEST_F(WeightsFileTest, GivesAModelItsWeightsInTheLayoutAndTypeThatItHas) {
  std::vector<Named> tensors = tensors_of(tiny_.model());
  tensors[0].dtype = DType::fp16;
  tensors[1].dtype = DType::bf16;
  load_weights(WeightsFile(write(tensors), tiny_.model()), tiny_.model(), tiny_.backend());
  for (const auto& parameter : tiny_.model().parameters()) {
    const std::vector<float> wanted = Named{parameter->name, parameter->shape}.values();
    std::vector<float> physical(wanted.size()), logical(wanted.size());
    download(tiny_.backend(), parameter->weight, physical);
    to_logical(parameter->shape, parameter->layout, physical, logical);
    EXPECT_EQ(logical, wanted) << parameter->name;
  }
  for (const auto& state : tiny_.model().states()) {
    std::vector<float> values(static_cast<std::size_t>(state->shape.elements()));
    download(tiny_.backend(), state->committed, values);
    EXPECT_EQ(values, (Named{state->name, state->shape}.values())) << state->name;
  }
}

TEST_F(WeightsFileTest, GivesEveryRankOfATrainerItsPart) {
  const fs::path file = write(tensors_of(tiny_.model()));
  run_ranks(3, [&](Communicator& communicator) {
    TinyRun run(communicator);
    load_weights(WeightsFile(file, run.model()), run.trainer());
    const Snapshot snapshot = run.snapshot();
    for (const auto& parameter : run.model().parameters()) {
      EXPECT_EQ(snapshot.arrays.at("master:" + parameter->name), (Named{parameter->name, parameter->shape}.values()))
          << parameter->name;
    }
    for (const auto& state : run.model().states()) {
      EXPECT_EQ(snapshot.states.at(state->name), (Named{state->name, state->shape}.values())) << state->name;
    }
    run.train(1);
    EXPECT_EQ(run.trainer().state().applied, 1);
  });
}

TEST_F(WeightsFileTest, OfAnotherModelIsRefusedByTheTensor) {
  const std::vector<Named> tensors = tensors_of(tiny_.model());
  const auto changed = [&](const auto& change) {
    std::vector<Named> other = tensors;
    change(other);
    return refusal(other);
  };
  EXPECT_EQ(changed([](auto&) {}), "accepted");
  EXPECT_EQ(changed([](auto& all) { all.push_back({"bn1.num_batches_tracked", Shape{}, DType::int64}); }), "accepted");
  EXPECT_EQ(changed([](auto& all) {
              all.push_back({"head.weight", Shape{2, 3}});
            }),
            ": holds \"head.weight\" of shape [2, 3], which the model does not have");
  EXPECT_EQ(changed([](auto& all) { all.erase(all.begin()); }),
            ": has no \"" + tensors[0].name + "\", which the model wants with shape " + tensors[0].shape.to_string());
  EXPECT_EQ(changed([](auto& all) { all[0].shape = Shape{7}; }),
            ": \"" + tensors[0].name + "\" has shape [7], the model wants " + tensors[0].shape.to_string());
  EXPECT_EQ(changed([](auto& all) { all[0].dtype = DType::int64; }),
            ": \"" + tensors[0].name + "\" is int64, wanted fp32, fp16 or bf16");
}

}  // namespace
}  // namespace minim
