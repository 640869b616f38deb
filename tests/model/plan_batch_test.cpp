#include <gtest/gtest.h>

#include <algorithm>

#include "minim/model/zoo.h"
#include "model/bound_plan.h"

namespace minim::test {
namespace {

constexpr int kClasses = 4;

struct PlanBatch : testing::Test {
  PoisonedBackend backend;
  Model model;
  Graph graph{model, Graph::Mode::training};

  void build_resnet() {
    build_classifier(graph, "resnet-18", {.height = 8, .width = 8, .channels = 2, .classes = kClasses}, {.width = 4});
  }
};

std::vector<std::vector<float>> states(const Model& model) {
  std::vector<std::vector<float>> all;
  for (const auto& state : model.states()) all.push_back(floats(state->pending));
  return all;
}

void restart_states(const Model& model) {
  for (const auto& s : model.states()) {
    assign(s->pending, std::vector<float>(static_cast<std::size_t>(s->shape.elements()), static_cast<float>(s->initial)));
  }
}

TEST_F(PlanBatch, PaddedWithSamplesThatDoNotCountEqualsTheSmallerBatch) {
  constexpr std::size_t kPadded = 5, kValid = 3;
  build_resnet();
  const ParameterMemory memory(model, backend, Precision::fp32);
  BoundPlan padded(graph, backend, memory, {.precision = Precision::fp32, .batch = kPadded});
  BoundPlan small(graph, backend, memory, {.precision = Precision::fp32, .batch = kValid});

  small.set_images(9, kClasses);
  small.step();
  const std::vector<float> wanted = gradients(small->trained());
  const auto wanted_states = states(model);
  restart_states(model);

  padded.set_images(9, kClasses);  // the first samples are those of the small batch; the others are other images
  padded.set("valid_samples", std::vector{static_cast<float>(kValid)});
  backend.poison(MemoryKind::gradients);
  padded.step();
  // Padding adds exact zeros to sums, which reference kernels form in the same order.
  EXPECT_EQ(gradients(padded->trained()), wanted);
  EXPECT_EQ(states(model), wanted_states);
  for (const char* sum : {"loss", "weight", "correct"}) EXPECT_EQ(padded.get(sum), small.get(sum)) << sum;
  EXPECT_EQ(padded.get("weight")[0], kValid);
}

TEST_F(PlanBatch, WithoutValidSamplesContributesZeros) {
  build_resnet();
  const ParameterMemory memory(model, backend, Precision::mixed);
  BoundPlan bound(graph, backend, memory, {.precision = Precision::mixed, .batch = 3});
  const auto before = states(model);
  bound.set_images(9, kClasses);
  bound.set("valid_samples", std::vector{0.0F});
  backend.poison(MemoryKind::gradients);
  bound.step();
  for (const float g : gradients(bound->trained())) ASSERT_EQ(g, 0);
  for (const char* sum : {"loss", "weight", "correct"}) EXPECT_EQ(bound.get(sum)[0], 0) << sum;
  EXPECT_EQ(states(model), before);
}

TEST_F(PlanBatch, DropsTheSameElementsOfASampleWhereverItIs) {
  const Value x = graph.input("x", ElementType::activation, Shape{Shape::kBatch, 200});
  const Value labels = graph.input("labels", ElementType::int32, Shape{Shape::kBatch});
  const Value y = graph.dropout("b", graph.dropout("a", x, 0.5), 0.25);
  graph.output("y", y);
  graph.softmax_cross_entropy("loss", y, labels);
  const ParameterMemory memory(model, backend, Precision::fp32);
  BoundPlan whole(graph, backend, memory, {.precision = Precision::fp32, .batch = 4, .seed = 3});
  BoundPlan half(graph, backend, memory, {.precision = Precision::fp32, .batch = 2, .seed = 3});
  const auto masks = [](BoundPlan& bound, std::vector<float> ids, float step) {
    bound.set("x", std::vector<float>(ids.size() * 200, 1));
    bound.set("labels", std::vector<float>(ids.size(), 0));
    bound.set("sample_ids", ids);
    bound.set("attempted_step", std::vector{step});
    bound.forward();
    return bound.get("y");
  };
  const std::vector<float> together = masks(whole, {10, 11, 12, 13}, 5);
  std::vector<float> apart = masks(half, {10, 11}, 5);
  const std::vector<float> rest = masks(half, {12, 13}, 5);
  apart.insert(apart.end(), rest.begin(), rest.end());
  EXPECT_EQ(together, apart);
  EXPECT_NE(together, masks(whole, {10, 11, 12, 13}, 6)) << "another step draws other numbers";
  EXPECT_NE(together, masks(whole, {10, 11, 12, 14}, 5)) << "another sample draws other numbers";
  const auto kept = std::ranges::count_if(together, [](float v) { return v > 0; });
  // Of 800 elements 0.5 * 0.75 are kept; six deviations are 82. Did both draw the same numbers, half would be: 400.
  EXPECT_NEAR(static_cast<double>(kept), 300, 82);
}

TEST_F(PlanBatch, OfAnotherSizeSharesTheArena) {
  build_resnet();
  const ParameterMemory memory(model, backend, Precision::mixed);
  const CompileOptions large_options{.precision = Precision::mixed, .batch = 5},
      small_options{.precision = Precision::mixed, .batch = 2};
  BoundPlan large(graph, backend, memory, large_options);
  const MemoryAccount& account = *backend.memory();
  const std::int64_t arena_bytes = account.in_use_bytes(MemoryKind::activations);
  BoundPlan small(graph, backend, memory, small_options, &large.plan());
  EXPECT_EQ(account.in_use_bytes(MemoryKind::activations), arena_bytes);

  BoundPlan alone(graph, backend, memory, small_options);
  const auto step = [](BoundPlan& bound) {
    bound.set_images(4, kClasses);
    bound.step();
    return gradients(bound->trained());
  };
  const std::vector<float> wanted = step(alone), of_large = step(large);
  EXPECT_EQ(step(small), wanted);
  EXPECT_EQ(step(large), of_large);
}

TEST_F(PlanBatch, WithTooSmallAnArenaToShareGetsItsOwn) {
  build_resnet();
  const ParameterMemory memory(model, backend, Precision::mixed);
  BoundPlan small(graph, backend, memory, {.precision = Precision::mixed, .batch = 2});
  BoundPlan large(graph, backend, memory, {.precision = Precision::mixed, .batch = 5}, &small.plan());
  EXPECT_EQ(backend.memory()->in_use_bytes(MemoryKind::activations),
            small->memory().activations_bytes + large->memory().activations_bytes);
}

TEST_F(PlanBatch, KeepsASharedArenaAliveBeyondItsOwner) {
  build_resnet();
  const ParameterMemory memory(model, backend, Precision::mixed);
  auto owner = std::make_unique<BoundPlan>(graph, backend, memory, CompileOptions{.precision = Precision::mixed, .batch = 3});
  BoundPlan guest(graph, backend, memory, {.precision = Precision::mixed, .batch = 3}, &owner->plan());
  const std::int64_t arena_bytes = guest->memory().activations_bytes;
  owner.reset();
  EXPECT_EQ(backend.memory()->in_use_bytes(MemoryKind::activations), arena_bytes);
}

}  // namespace
}  // namespace minim::test
