#pragma once

#include <vector>

#include "launcher/small_network.h"
#include "minim/launcher/trainer.h"

namespace minim::testing {

/// Two networks in opposition: a generator maps noise to points, a critic tells them from data. Each phase updates one of them.
class ToyPair {
 public:
  explicit ToyPair(Model& model) : critic_graph(model, Graph::Mode::training), generator_graph(model, Graph::Mode::training) {
    const Value noise = generator_graph.input("noise", ElementType::activation, Shape{Shape::kBatch, 4});
    const Value hidden = generator_graph.relu("generator.relu", generator_graph.linear("generator.in", noise, 8));
    criticise(generator_graph, generator_graph.linear("generator.out", hidden, 2));
    criticise(critic_graph, critic_graph.input("points", ElementType::activation, Shape{Shape::kBatch, 2}));
  }

  static void criticise(Graph& graph, Value points) {
    const Value labels = graph.input("labels", ElementType::int32, Shape{Shape::kBatch});
    const Value hidden = graph.relu("critic.relu", graph.linear("critic.in", points, 8));
    finish_network(graph, graph.linear("critic.out", hidden, 2), labels);
  }

  /// The critic's, then the generator's.
  std::vector<PhaseConfig> phases() const {
    std::vector<PhaseConfig> both(2);
    both[0] = {
        .name = "critic", .graphs = {&critic_graph}, .updates = starts_with("critic"), .batch = kBatch, .optimizer = sgd(0.1)};
    both[1] = {.name = "generator",
               .graphs = {&generator_graph},
               .updates = starts_with("generator"),
               .batch = kBatch,
               .optimizer = sgd(0.1, 4096.0F)};
    return both;
  }

  /// Sends numbers that depend on `seed` alone to the inputs of either phase.
  static void fill(Backend& backend, const MicroBatch& micro_batch, std::int64_t seed) {
    const Plan& plan = *micro_batch.plans[0];
    send(backend, micro_batch.stream, plan.input(micro_batch.phase == 0 ? "points" : "noise"),
         [seed](const TensorView& input) { fill_floating(input, [seed](std::int64_t i) { return pixel(seed, i); }); });
    send(backend, micro_batch.stream, plan.input("labels"), [](const TensorView& labels) {
      for (std::int64_t n = 0; n < kBatch; ++n) labels.data<std::int32_t>()[n] = static_cast<std::int32_t>(n % 2);
    });
  }

  Graph critic_graph;
  Graph generator_graph;

 private:
  static constexpr std::int64_t kBatch = 8;

  static std::function<bool(const Parameter&)> starts_with(const char* prefix) {
    return [prefix](const Parameter& parameter) { return parameter.name.starts_with(prefix); };
  }
};

}  // namespace minim::testing
