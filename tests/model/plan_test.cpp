#include "minim/model/plan.h"

#include <gtest/gtest.h>

#include <cmath>

#include "minim/model/zoo.h"
#include "minim/runtime/error.h"
#include "model/bound_plan.h"

namespace minim::test {
namespace {

template <class F>
std::string message(F f) {
  try {
    f();
  } catch (const InvalidArgument& error) {
    return error.what();
  }
  return "nothing was thrown";
}

struct PlanTest : testing::Test {
  std::unique_ptr<Backend> backend = make_reference_backend();
  Model model;
  Graph graph{model, Graph::Mode::training};
  const CompileOptions fp32{.precision = Precision::fp32, .batch = 2};
};

TEST_F(PlanTest, ForTrainingNeedsALoss) {
  graph.relu("relu", graph.input("x", ElementType::activation, Shape{Shape::kBatch, 2}));
  EXPECT_EQ(message([&] { Plan::compile(graph, *backend, fp32); }), "the training graph has no loss, wanted at least one");
}

TEST_F(PlanTest, RefusesImpossibleOptions) {
  build_classifier(graph, "lenet", {});
  EXPECT_EQ(message([&] { Plan::compile(graph, *backend, {.batch = -1}); }), "batch -1, wanted 0 or more");
  EXPECT_EQ(message([&] { Plan::compile(graph, *backend, {.nominal_weight = 0}); }), "nominal weight 0, wanted more than 0");
}

TEST_F(PlanTest, NamesTheParameterThatHasNoMemory) {
  build_classifier(graph, "lenet", {});
  const auto plan = Plan::compile(graph, *backend, fp32);
  EXPECT_EQ(message([&] { plan->bind({}); }),
            "the weight of \"conv1.weight\" has no memory, the plan wants fp32 of shape [6, 5, 5, 1]");
}

TEST_F(PlanTest, NamesTheParameterThatIsPlacedInAnotherPrecision) {
  build_classifier(graph, "lenet", {});
  const ParameterMemory memory(model, *backend, Precision::fp32);
  const auto plan = Plan::compile(graph, *backend, {.precision = Precision::mixed});
  EXPECT_EQ(message([&] { plan->bind(memory.loss_scale()); }),
            "the weight of \"conv1.weight\" is fp32 of shape [6, 5, 5, 1], the plan wants fp16 of shape [6, 5, 5, 1]");
}

TEST_F(PlanTest, ForTrainingNeedsALossScale) {
  build_classifier(graph, "lenet", {});
  const ParameterMemory memory(model, *backend, Precision::fp32);
  const auto plan = Plan::compile(graph, *backend, fp32);
  EXPECT_EQ(message([&] { plan->bind({}); }), "the value of \"loss scale\" has no memory, the plan wants fp32 of shape [1]");
}

TEST_F(PlanTest, RefusesUnknownNamesAndUseBeforeItIsBound) {
  build_classifier(graph, "lenet", {});
  const ParameterMemory memory(model, *backend, Precision::fp32);
  const auto plan = Plan::compile(graph, *backend, fp32);
  EXPECT_EQ(message([&] { plan->input("images"); }), "the plan has no memory yet: bind it first");
  plan->bind(memory.loss_scale());
  EXPECT_EQ(message([&] { plan->input("image"); }), "the plan has no input \"image\"");
  EXPECT_EQ(message([&] { plan->output("images"); }), "the plan has no output \"images\"");
  EXPECT_TRUE(plan->has_input("images"));
  EXPECT_FALSE(plan->has_input("sample_ids"));
}

TEST_F(PlanTest, CountsTheWorkOfAConvolution) {
  const Value x = graph.input("x", ElementType::activation, Shape{Shape::kBatch, 6, 6, 4});
  const Value labels = graph.input("labels", ElementType::int32, Shape{Shape::kBatch});
  const Value y = graph.conv2d("conv", x, 8, {.kernel_h = 3, .kernel_w = 3});
  graph.softmax_cross_entropy("loss", graph.global_average_pool("pool", y), labels);
  const auto plan = Plan::compile(graph, *backend, {.precision = Precision::mixed, .batch = 5});
  const OperationCost& forward = plan->costs().front();
  EXPECT_EQ(forward.name, "conv");
  EXPECT_EQ(forward.type, "conv2d");
  EXPECT_EQ(forward.kernel, "Conv2dForward");
  EXPECT_EQ(forward.kernel_set, "reference");
  EXPECT_EQ(forward.flops, 2.0 * 5 * 4 * 4 * 8 * 3 * 3 * 4);
  EXPECT_EQ(forward.bytes, 2 * (5 * 6 * 6 * 4 + 8 * 3 * 3 * 4 + 5 * 4 * 4 * 8));
  EXPECT_EQ(plan->costs().back().kernel, "Conv2dBackwardWeights");
  EXPECT_TRUE(plan->costs().back().backward);
  EXPECT_EQ(plan->costs().back().flops, forward.flops);
}

TEST_F(PlanTest, ForEvaluationReadsTheSameWeightsAndTheCommittedStatistics) {
  constexpr double kEpsilon = 1e-5;
  const auto build = [](Graph& g) {
    const Value x = g.input("x", ElementType::activation, Shape{Shape::kBatch, 1});
    const Value labels = g.input("labels", ElementType::int32, Shape{Shape::kBatch});
    const Value y = g.batch_norm("bn", g.linear("fc", x, 1, {.bias = false}), {.momentum = 1, .epsilon = kEpsilon});
    g.output("y", g.dropout("dropout", y, 0.5));
    g.softmax_cross_entropy("loss", y, labels);
  };
  build(graph);
  Graph evaluation(model, Graph::Mode::evaluation);
  build(evaluation);
  const ParameterMemory memory(model, *backend, Precision::fp32);
  assign(model.parameters()[0]->weight, std::vector{2.0F});

  BoundPlan training(graph, *backend, memory, fp32), evaluating(evaluation, *backend, memory, fp32);
  EXPECT_TRUE(evaluating->trained().empty());
  EXPECT_FALSE(evaluating->has_input("sample_ids"));
  training.set("x", std::vector<float>{1, 3});
  training.set("labels", std::vector<float>{0, 0});
  training.set("sample_ids", std::vector<float>{0, 1});
  training.set("attempted_step", std::vector{0.0F});
  training.step();
  // Momentum 1: the running statistics are those of {2, 6}, with unbiased variance; not yet those that evaluation sees.
  const State &mean = *model.states()[0], &variance = *model.states()[1];
  EXPECT_EQ(floats(mean.pending)[0], 4);
  EXPECT_EQ(floats(variance.pending)[0], 8);
  EXPECT_EQ(floats(mean.committed)[0], 0);
  EXPECT_EQ(floats(variance.committed)[0], 1);

  assign(mean.committed, std::vector{1.0F});
  assign(variance.committed, std::vector{4.0F});
  evaluating.set("x", std::vector<float>{1, 3});
  evaluating.set("labels", std::vector<float>{0, 0});
  evaluating.forward();
  // FP64 in between, rounded once: half a unit in the last place.
  EXPECT_FLOAT_EQ(evaluating.get("y")[0], static_cast<float>(1 / std::sqrt(4 + kEpsilon)));
  EXPECT_FLOAT_EQ(evaluating.get("y")[1], static_cast<float>(5 / std::sqrt(4 + kEpsilon)));
  EXPECT_EQ(floats(mean.committed)[0], 1) << "evaluation changes no statistics";
}

TEST_F(PlanTest, KeepsTheAddressesOfInputsAndOutputs) {
  build_classifier(graph, "lenet", {});
  const ParameterMemory memory(model, *backend, Precision::mixed);
  BoundPlan bound(graph, *backend, memory, {.precision = Precision::mixed, .batch = 2});
  const void *images = bound->input("images").raw(), *logits = bound->output("logits").raw();
  bound.set_images(1, 10);
  const std::vector<float> before = floats(bound->input("images"));
  bound.step();
  EXPECT_EQ(bound->input("images").raw(), images);
  EXPECT_EQ(bound->output("logits").raw(), logits);
  EXPECT_EQ(floats(bound->input("images")), before);
}

TEST_F(PlanTest, OfAGraphBuiltAgainAgreesBitForBit) {
  const auto run = [&](Model& m) {
    Graph g(m, Graph::Mode::training);
    const Value x = g.input("images", ElementType::activation, Shape{Shape::kBatch, 20});
    const Value labels = g.input("labels", ElementType::int32, Shape{Shape::kBatch});
    g.input("valid_samples", ElementType::int32, Shape{1});
    g.output("loss", g.softmax_cross_entropy("loss", g.dropout("drop", g.linear("fc", x, 10), 0.5), labels).loss);
    const ParameterMemory memory(m, *backend, Precision::mixed);
    BoundPlan bound(g, *backend, memory, {.precision = Precision::mixed, .batch = 4, .seed = 17});
    bound.set_images(2, 10);
    bound.step();
    return gradients(bound->trained());
  };
  Model again;
  EXPECT_EQ(run(model), run(again));
}

TEST(PlaceStates, FillsNewStatesAndLeavesPlacedOnes) {
  const auto backend = make_reference_backend();
  Model model;
  State state;
  state.name = "variance";
  state.shape = Shape{3};
  state.initial = 1;
  State& placed = model.state(state);
  place_states(model, *backend);
  EXPECT_EQ(floats(placed.committed), (std::vector<float>{1, 1, 1}));
  EXPECT_EQ(floats(placed.pending), (std::vector<float>{1, 1, 1}));
  assign(placed.pending, std::vector<float>{5, 6, 7});
  place_states(model, *backend);
  EXPECT_EQ(floats(placed.pending), (std::vector<float>{5, 6, 7}));
  EXPECT_EQ(backend->memory()->in_use_bytes(MemoryKind::state), state_bytes(model));
  state.name = "mean";
  state.shape = Shape{20};
  state.initial = 0;
  const State& mean = model.state(state);
  state.name = "other mean";
  const State& other = model.state(state);
  place_states(model, *backend);
  EXPECT_EQ(floats(placed.pending), (std::vector<float>{5, 6, 7}));
  EXPECT_EQ(floats(other.committed), std::vector<float>(20));
  EXPECT_EQ(static_cast<const std::byte*>(other.pending.raw()) - static_cast<const std::byte*>(mean.pending.raw()), 128);
  EXPECT_EQ(backend->memory()->in_use_bytes(MemoryKind::state), state_bytes(model));
}

}  // namespace
}  // namespace minim::test
