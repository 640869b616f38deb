// Two constructed runs in which one technique of the paper decides everything: with it training follows FP32, without it nothing moves.
//
//   master weights   every update is |weight| / 8192, which FP16 rounds away when it is added to an FP16 weight (section 3.1)
//   loss scaling     every activation gradient is at most 2^-25, which FP16 rounds to zero (section 3.2)
//
// Exits with 1 when a run does not come out as the paper says it must.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "minim/launcher/trainer.h"

namespace {

using namespace minim;

constexpr std::int64_t kSamples = 64;
constexpr std::int64_t kFeatures = 8;
constexpr int kSteps = 100;

struct Construction {
  const char* name;
  double initial_weight;
  double learning_rate;
  float sample_weight;
};
// Softmax over equal logits gives |dLoss/dlogit| = 1/2 per sample of weight 1, and features are 1: a first update of lr / 2.
constexpr Construction kSmallUpdates{"updates of weight / 8192", 1.0, 0x1p-12, 1.0F};
constexpr Construction kSmallGradients{"gradients of at most 2^-25", 0.0, 0.25, 0x1p-18F};

struct Variant {
  const char* name;
  Precision precision;
  LossScaleMode mode;
};

struct Curve {
  double first_loss = 0, last_loss = 0;
  double moved = 0;  ///< share of the weights that differ from their start
};

/// The same samples in every step.
struct Samples {
  Tensor x, labels, weights;

  Samples(Backend& backend, DType dtype, float weight)
      : x(backend.allocate_host_tensor(dtype, Shape{kSamples, kFeatures}, MemoryKind::staging)),
        labels(backend.allocate_host_tensor(DType::int32, Shape{kSamples}, MemoryKind::staging)),
        weights(backend.allocate_host_tensor(DType::fp32, Shape{kSamples}, MemoryKind::staging)) {
    dispatch_floating(dtype, [&]<class T>(T) { std::ranges::fill(x.span<T>(), round_to<T>(1.0F)); });
    std::ranges::fill(labels.span<std::int32_t>(), 0);
    std::ranges::fill(weights.span<float>(), weight);
  }

  void send(const MicroBatch& micro_batch) const {
    const Plan& plan = *micro_batch.plans[0];
    micro_batch.stream.copy(plan.input("x"), x);
    micro_batch.stream.copy(plan.input("labels"), labels);
    micro_batch.stream.copy(plan.input("sample_weights"), weights);
  }
};

Curve train(const Construction& construction, const Variant& variant) {
  const auto backend = make_cpu_backend(1);
  const auto communicator = make_self_communicator();
  Model model;
  Graph graph(model, Graph::Mode::training);
  const Value x = graph.input("x", ElementType::activation, Shape{Shape::kBatch, kFeatures});
  const Value labels = graph.input("labels", ElementType::int32, Shape{Shape::kBatch});
  const Value weights = graph.input("sample_weights", ElementType::fp32, Shape{Shape::kBatch});
  const LossValues loss = graph.softmax_cross_entropy("loss", graph.linear("fc", x, 2, {.bias = false}), labels, {}, weights);
  graph.output("loss", loss.loss);
  graph.output("weight", loss.weight);
  graph.output("correct", loss.correct);
  std::vector<PhaseConfig> phases(1);
  phases[0].graphs = {&graph};
  phases[0].batch = kSamples;
  phases[0].optimizer.rule = SgdRule{.momentum = 0};
  phases[0].optimizer.loss_scale.mode = variant.mode;
  phases[0].optimizer.schedule = {.base = construction.learning_rate, .total_steps = kSteps};
  Trainer trainer(*backend, *communicator, model, std::move(phases), {.precision = variant.precision});

  auto& optimizer = trainer.optimizer();
  const std::string array = optimizer.array_names().front();
  const std::vector<float> start(2 * kFeatures, static_cast<float>(construction.initial_weight));
  optimizer.set_array(array, *optimizer.parameters().front(), start);
  const Samples samples(*backend, compute_dtype(variant.precision), construction.sample_weight);
  Curve curve;
  for (int step = 0; step < kSteps; ++step) {
    trainer.step([&](const MicroBatch& micro_batch) {
      samples.send(micro_batch);
      return 0;
    });
    const double mean_loss = trainer.state().loss / trainer.state().weight;
    if (step == 0) curve.first_loss = mean_loss;
    curve.last_loss = mean_loss;
  }
  const auto end = optimizer.gather_array(array, *optimizer.parameters().front());
  for (std::size_t i = 0; i < end.size(); ++i) curve.moved += end[i] != start[i] ? 1.0 / static_cast<double>(end.size()) : 0.0;
  return curve;
}

bool show(const Construction& construction, const std::vector<Variant>& variants, nlohmann::json& rows) {
  std::vector<Curve> curves;
  fmt::print("{}\n  {:<28} {:>10} {:>10} {:>14}\n", construction.name, "", "first loss", "last loss", "weights moved");
  for (const Variant& variant : variants) {
    const Curve curve = train(construction, variant);
    fmt::print("  {:<28} {:>10.5f} {:>10.5f} {:>13.0f}%\n", variant.name, curve.first_loss, curve.last_loss, 100 * curve.moved);
    rows.push_back({{"construction", construction.name}, {"variant", variant.name}, {"first_loss", curve.first_loss},
                    {"last_loss", curve.last_loss}, {"weights_moved", curve.moved}});
    curves.push_back(curve);
  }
  // Weights below 2 carry an error of 2^-11 each, logits below 16 one of 2^-8 from their own rounding. The loss moves by at most half
  // of each of its two logits' errors.
  constexpr double kTolerance = kFeatures * 0x1p-11 + 0x1p-8;
  const double fall = curves[0].first_loss - curves[0].last_loss;
  const bool with_follows = std::abs(curves[1].last_loss - curves[0].last_loss) <= kTolerance && curves[1].moved == 1;
  const bool without_fails = curves[2].moved == 0 && curves[2].last_loss == curves[2].first_loss && fall > 4 * kTolerance;
  return with_follows && without_fails;
}

}  // namespace

int main(int argc, char** argv) {
  nlohmann::json rows = nlohmann::json::array();
  const bool master = show(kSmallUpdates,
                           {{"fp32", Precision::fp32, LossScaleMode::off},
                            {"mixed", Precision::mixed, LossScaleMode::dynamic},
                            {"without master weights", Precision::fp16, LossScaleMode::dynamic}},
                           rows);
  const bool scaling = show(kSmallGradients,
                            {{"fp32", Precision::fp32, LossScaleMode::off},
                             {"mixed", Precision::mixed, LossScaleMode::dynamic},
                             {"without loss scaling", Precision::mixed, LossScaleMode::off}},
                            rows);
  for (int i = 1; i + 1 < argc; ++i) {
    if (std::strcmp(argv[i], "--json") == 0) std::ofstream(argv[i + 1]) << rows.dump(1) << "\n";
  }
  return master && scaling ? 0 : 1;
}
