#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "minim/launcher/checkpoint.h"
#include "minim/model/data/loader.h"
#include "minim/runtime/transfer.h"

namespace minim::testing {

struct TinyOptions {
  Precision precision = Precision::mixed;
  UpdateRule rule = SgdRule{};
  LossScaleConfig loss_scale = {.initial = 1024.0F, .growth_interval = 2};
  double learning_rate = 0.05;
  std::uint64_t seed = 3;
  std::int64_t channels = 5;  ///< of the convolution
  bool batch_norm = true;
  bool hidden = false;  ///< one layer more
  std::function<std::unique_ptr<Backend>()> make_backend = [] { return make_cpu_backend(1); };
  GradSync grad_sync = GradSync::all_reduce;
  bool synchronise_batch_norm = false;
};

/// Everything of one rank that decides what comes next.
struct Snapshot {
  std::map<std::string, std::vector<float>> arrays;  ///< of parameters, gathered
  std::map<std::string, std::vector<float>> states;  ///< the rank's own
  StepState step;
};

/// The largest difference between arrays of the same name, relative to the largest value of each in `a`; infinite with a NaN.
inline double relative_difference(const std::map<std::string, std::vector<float>>& a,
                                  const std::map<std::string, std::vector<float>>& b) {
  double largest = 0;
  for (const auto& [name, values] : a) {
    double magnitude = 0, difference = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      magnitude = std::max(magnitude, std::abs(double{values[i]}));
      difference = std::max(difference, std::abs(double{values[i]} - b.at(name)[i]));
      if (std::isnan(values[i]) || std::isnan(b.at(name)[i])) return INFINITY;
    }
    if (difference > 0) largest = std::max(largest, difference / magnitude);
  }
  return largest;
}

/// One rank of a small network in training: convolution, batch norm, linear, on synthetic images of 6 x 6, 12 a step over all
/// ranks.
class TinyRun {
 public:
  static constexpr std::int64_t kGlobalBatch = 12;

  explicit TinyRun(Communicator& communicator, const TinyOptions& options = {})
      : communicator_(communicator),
        options_(options),
        backend_(options.make_backend()),
        valid_samples_(backend_->allocate_host_tensor(DType::int32, Shape{1}, MemoryKind::staging)),
        dataset_(make_synthetic({.height = 6, .width = 6, .channels = 1, .classes = 3}, 50, 1, Split::train)),
        graph_(model_, Graph::Mode::training) {
    build();
    std::vector<PhaseConfig> phases(1);
    phases[0].graphs = {&graph_};
    phases[0].batch = kGlobalBatch / communicator.size();
    phases[0].optimizer.rule = options.rule;
    phases[0].optimizer.loss_scale = options.loss_scale;
    phases[0].optimizer.grad_sync = options.grad_sync;
    phases[0].optimizer.schedule = {.base = options.learning_rate, .total_steps = 1000};
    trainer_ = std::make_unique<Trainer>(
        *backend_, communicator, model_, std::move(phases),
        Trainer::Options{
            .precision = options.precision, .seed = options.seed, .synchronise_batch_norm = options.synchronise_batch_norm});
  }

  /// Goes on from the step that the trainer is at; with `ahead` a step is enqueued while the one before is at work.
  void train(int steps, bool ahead = false) {
    TrainingLoader loader(*dataset_, *backend_,
                          {.batch = kGlobalBatch / communicator_.size(),
                           .rank = communicator_.rank(),
                           .world_size = communicator_.size(),
                           .dtype = compute_dtype(options_.precision),
                           .seed = options_.seed,
                           .start_position = position()});
    const Feed feed = [&](const MicroBatch& micro_batch) {
      const Batch& batch = loader.next();
      const Plan& plan = *micro_batch.plans[0];
      valid_samples_.span<std::int32_t>()[0] = batch.valid_samples;
      micro_batch.stream.copy(plan.input("images"), batch.images);
      micro_batch.stream.copy(plan.input("labels"), batch.labels);
      micro_batch.stream.copy(plan.input("valid_samples"), valid_samples_);
      return 0;
    };
    for (int i = 0; i < steps; ++i) {
      if (ahead) {
        trainer_->step_ahead(feed);
      } else {
        trainer_->step(feed);
      }
    }
    trainer_->drain();
  }

  std::int64_t position() const { return trainer_->attempted() * kGlobalBatch; }
  CheckpointExtra extra() const {
    return {.data_position = position(), .configuration = "model = \"tiny\"\n", .note = "interval"};
  }
  Backend& backend() { return *backend_; }
  Trainer& trainer() { return *trainer_; }
  Model& model() { return model_; }

  /// Collective.
  Snapshot snapshot() {
    Snapshot all;
    ShardedOptimizer& optimizer = trainer_->optimizer();
    for (const auto& array : optimizer.array_names()) {
      for (const Parameter* parameter : optimizer.parameters()) {
        all.arrays[array + ":" + parameter->name] = optimizer.gather_array(array, *parameter);
      }
    }
    trainer_->stream().synchronize();
    for (const auto& state : model_.states()) {
      std::vector<float>& values = all.states[state->name];
      values.resize(static_cast<std::size_t>(state->shape.elements()));
      download(*backend_, state->committed, values);
    }
    all.step = trainer_->state();
    return all;
  }

 private:
  void build() {
    const Value count = graph_.input("valid_samples", ElementType::int32, Shape{1});
    Value x = graph_.input("images", ElementType::activation, Shape{Shape::kBatch, 6, 6, 1}, count);
    const Value labels = graph_.input("labels", ElementType::int32, Shape{Shape::kBatch}, count);
    x = graph_.conv2d("conv", x, options_.channels, {.kernel_h = 3, .kernel_w = 3, .geometry = {}});
    if (options_.batch_norm) x = graph_.batch_norm("bn", x);
    x = graph_.flatten("flatten", graph_.relu("relu", x));
    if (options_.hidden) x = graph_.linear("hidden", x, 7);
    const LossValues loss = graph_.softmax_cross_entropy("loss", graph_.linear("fc", x, 3), labels);
    graph_.output("loss", loss.loss);
    graph_.output("weight", loss.weight);
    graph_.output("correct", loss.correct);
  }

  Communicator& communicator_;
  TinyOptions options_;
  std::unique_ptr<Backend> backend_;
  Tensor valid_samples_;
  std::unique_ptr<Dataset> dataset_;
  Model model_;
  Graph graph_;
  std::unique_ptr<Trainer> trainer_;
};

}  // namespace minim::testing
