#include "command/inspector.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "runtime/exponent_oracle.h"

namespace minim::command {
namespace {

RunConfig config_of(const std::string& model, const std::string& precision) {
  RunConfig config;
  config.model = model;
  config.precision = precision;
  config.width = 4;
  config.dataset = "synthetic";
  config.image_size = model == "lenet" ? 12 : 32;
  config.batch = 3;
  config.accumulate = 2;
  config.samples = 16;
  return resolve(config);
}

/// One rank in training, every step of it inspected.
class InspectedRun {
 public:
  explicit InspectedRun(const RunConfig& config)
      : config_(config), data_(open_split(config_, Split::train)), network_(config_, data_->task()), feed_(*backend_) {
    PhaseConfig phase;
    phase.graphs = {&network_.training};
    phase.batch = config_.batch;
    phase.optimizer = optimizer_config(config_, 10);
    trainer_ = std::make_unique<Trainer>(*backend_, *communicator_, network_.model, std::vector{std::move(phase)},
                                         Trainer::Options{.precision = parse_precision(config_.precision),
                                                          .micro_batches = static_cast<int>(config_.accumulate),
                                                          .seed = config_.seed});
    const std::int64_t before_bytes = backend_->memory()->in_use_bytes();
    inspector_ = std::make_unique<Inspector>(config_, data_->task(), *trainer_);
    inspector_bytes_ = backend_->memory()->in_use_bytes() - before_bytes;
    loader_ = std::make_unique<TrainingLoader>(*data_, *backend_,
                                               LoaderOptions{.batch = config_.batch,
                                                             .micro_batches = static_cast<int>(config_.accumulate),
                                                             .dtype = compute_dtype(parse_precision(config_.precision)),
                                                             .seed = config_.seed});
  }

  Inspection step() {
    inspector_->begin();
    trainer_->step([&](const MicroBatch& micro_batch) {
      feed_.fill(*micro_batch.plans.front(), loader_->next(), micro_batch.step, micro_batch.stream);
      inspector_->observe(micro_batch);
      return 0;
    });
    return inspector_->finish();
  }

  Network& network() { return network_; }
  Trainer& trainer() { return *trainer_; }
  Backend& backend() { return *backend_; }
  std::int64_t inspector_bytes() const { return inspector_bytes_; }
  const RunConfig& config() const { return config_; }

 private:
  RunConfig config_;
  std::unique_ptr<Backend> backend_ = make_cpu_backend(1);
  std::unique_ptr<Communicator> communicator_ = make_self_communicator();
  std::unique_ptr<Dataset> data_;
  Network network_;
  BatchFeed feed_;
  std::unique_ptr<Trainer> trainer_;
  std::unique_ptr<Inspector> inspector_;
  std::unique_ptr<TrainingLoader> loader_;
  std::int64_t inspector_bytes_ = 0;
};

ExponentCounts counts_of(const ConstTensorView& view) {
  const auto counts = exponent_oracle::count(view, view.elements());
  return ExponentCounts(std::span(counts).first<ExponentCounts::kBins>());
}

const ExponentCounts& counts_of(const Inspection& inspection, const std::string& name, TensorKind kind) {
  return std::ranges::find_if(inspection.tensors, [&](const auto& t) { return t.name == name && t.kind == kind; })->counts;
}

/// Also with dropout (googlenet) and batch norm (resnet-18): masks, running statistics and micro-batches are the step's own.
TEST(Inspector, SeesTheGradientsAndWeightsThatAnFp32StepComputes) {
  for (const std::string model : {"lenet", "resnet-18", "googlenet"}) {
    InspectedRun run(config_of(model, "fp32"));
    const int steps = model == "googlenet" ? 1 : 2;  // which takes long
    for (int step = 1; step <= steps; ++step) {
      std::map<std::string, ExponentCounts> weights;
      for (const auto& parameter : run.network().model.parameters()) {
        if (!parameter->keep_fp32) weights[parameter->name] = counts_of(parameter->weight);
      }
      const Inspection inspection = run.step();
      EXPECT_EQ(inspection.step, step);
      EXPECT_TRUE(inspection.applied);
      for (const auto& parameter : run.network().model.parameters()) {
        if (parameter->keep_fp32) continue;
        const std::string& name = parameter->name;
        EXPECT_EQ(counts_of(inspection, name, TensorKind::weight), weights.at(name)) << model << ", " << name;
        EXPECT_EQ(counts_of(inspection, name, TensorKind::weight_gradient), counts_of(parameter->gradient))
            << model << ", " << name;
      }
    }
  }
}

TEST(Inspector, CountsEveryActivationOfAllMicroBatchesAndItsGradient) {
  InspectedRun run(config_of("lenet", "mixed"));
  const Inspection inspection = run.step();
  std::vector<std::string> names;
  for (const InspectedTensor& tensor : inspection.tensors) names.push_back(tensor.name);
  std::vector<std::string> wanted;
  for (const std::string layer : {"conv1", "pool1", "conv2", "pool2", "fc1", "fc2", "fc3"}) {
    wanted.insert(wanted.end(), {layer, layer});
    if (layer.starts_with("pool")) continue;
    for (const char* parameter : {".weight", ".bias"}) wanted.insert(wanted.end(), {layer + parameter, layer + parameter});
  }
  EXPECT_EQ(names, wanted);
  EXPECT_EQ(counts_of(inspection, "fc3", TensorKind::activation).elements(), 6 * 10);
  EXPECT_EQ(counts_of(inspection, "fc3", TensorKind::activation_gradient).elements(), 6 * 10);
  EXPECT_EQ(counts_of(inspection, "conv1", TensorKind::activation).elements(), 6 * 12 * 12 * 6);
  EXPECT_EQ(inspection.loss_scale, 65536);
}

TEST(Inspector, MeasuresUpdatesOfMasterWeights) {
  InspectedRun run(config_of("lenet", "mixed"));
  run.step();
  const auto masters = [&] {
    std::vector<std::vector<float>> arrays;
    for (const auto& parameter : run.network().model.parameters()) {
      arrays.push_back(run.trainer().optimizer().gather_array("master", *parameter));
    }
    return arrays;
  };
  const auto before = masters();
  const std::vector<WeightUpdate> updates = run.step().updates;
  const auto after = masters();
  ASSERT_EQ(updates.size(), before.size());
  for (std::size_t p = 0; p < updates.size(); ++p) {
    double weight = 0, update = 0;
    for (std::size_t i = 0; i < before[p].size(); ++i) {
      weight = std::hypot(weight, before[p][i]);
      update = std::hypot(update, double{after[p][i]} - before[p][i]);
    }
    EXPECT_NEAR(updates[p].weight_norm, weight, 1e-12 * weight) << updates[p].parameter;
    EXPECT_NEAR(updates[p].update_norm, update, 1e-12 * update) << updates[p].parameter;
    EXPECT_GT(updates[p].update_norm, 0) << updates[p].parameter;
  }
}

TEST(Inspector, TakesTheMemoryThatWasPlanned) {
  for (const char* precision : {"fp32", "mixed"}) {
    InspectedRun run(config_of("resnet-18", precision));
    const InspectorMemory memory = inspector_memory(run.config(), run.network(), run.backend(), run.trainer().plan());
    EXPECT_EQ(run.inspector_bytes(), memory.weights_bytes + memory.gradients_bytes + memory.activations_bytes +
                                         memory.workspace_bytes + memory.input_bytes + memory.state_bytes)
        << precision;
  }
}

}  // namespace
}  // namespace minim::command
