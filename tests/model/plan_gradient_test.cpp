#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "minim/model/operations.h"
#include "minim/model/zoo.h"
#include "model/bound_plan.h"
#include "model/test_operations.h"

namespace minim::test {
namespace {

struct PlanGradient : testing::Test {
  PlanGradient() { add_test_kernels(backend); }

  void start(const CompileOptions& options) {
    memory = std::make_unique<ParameterMemory>(model, backend, options.precision);
    bound = std::make_unique<BoundPlan>(graph, backend, *memory, options);
  }
  Parameter& parameter(const std::string& name) {
    return **std::ranges::find(model.parameters(), name, [](const auto& p) { return p->name; });
  }
  Parameter& add_parameter(const std::string& name, Shape shape) {
    Parameter p;
    p.name = name;
    p.shape = shape;
    return model.parameter(p);
  }
  std::vector<float> gradient(const std::string& name) { return floats(parameter(name).gradient); }
  bool has_kernel(const std::string& operation, const std::string& kernel) {
    return std::ranges::any_of(bound->plan().costs(),
                               [&](const OperationCost& c) { return c.name == operation && c.kernel == kernel; });
  }

  PoisonedBackend backend;
  Model model;
  Graph graph{model, Graph::Mode::training};
  std::unique_ptr<ParameterMemory> memory;
  std::unique_ptr<BoundPlan> bound;
};

TEST_F(PlanGradient, OfAValueWithSeveralConsumersIsSummedInFp32AndRoundedOnce) {
  const Value x = source(graph, "x", Shape{1}, 1);
  for (const std::string name : {"a", "b", "c"}) probe(graph, name, x);
  start({.precision = Precision::mixed});
  // FP16 counts in twos from 2048 on: 2048 + 1 rounds to 2048, so adding twice in FP16 would lose both ones.
  bound->set("a.c", std::vector{2048.0F});
  bound->set("b.c", std::vector{1.0F});
  bound->set("c.c", std::vector{1.0F});
  bound->step();
  EXPECT_EQ(gradient("x")[0], 2050);
}

TEST_F(PlanGradient, ThroughASumIsNotOverwrittenWhileAnotherTermNeedsIt) {
  // The gradient of the sum is that of both its terms without a copy; ReLU's backward could write over it.
  const Value a = source(graph, "a", Shape{4}, 1), b = source(graph, "b", Shape{4}, 1);
  probe(graph, "loss", graph.sum("sum", {graph.relu("ra", a), graph.relu("rb", b)}));
  start({.precision = Precision::fp32});
  assign(parameter("a").weight, std::vector<float>{1, -1, 1, -1});
  assign(parameter("b").weight, std::vector<float>{1, 1, -1, -1});
  bound->set("loss.c", std::vector<float>{2, 3, 5, 7});
  bound->step();
  EXPECT_EQ(gradient("a"), (std::vector<float>{2, 0, 5, 0}));
  EXPECT_EQ(gradient("b"), (std::vector<float>{2, 3, 0, 0}));
}

TEST_F(PlanGradient, OfASharedParameterAddsUpOverItsUses) {
  Parameter& w = add_parameter("w", Shape{2, 3});
  const Value x1 = graph.input("x1", ElementType::activation, Shape{Shape::kBatch, 3});
  const Value x2 = graph.input("x2", ElementType::activation, Shape{Shape::kBatch, 3});
  probe(graph, "a", graph.add("fc1", make_linear(w.shape, {.bias = false}), {x1}, {&w}).front());
  probe(graph, "b", graph.add("fc2", make_linear(w.shape, {.bias = false}), {x2}, {&w}).front());
  start({.precision = Precision::fp32});
  bound->set("x1", std::vector<float>{1, 2, 3});
  bound->set("x2", std::vector<float>{10, 20, 30});
  bound->set("a.c", std::vector<float>{1, 2});
  bound->set("b.c", std::vector<float>{1, -1});
  const std::vector<float> wanted{11, 22, 33, -8, -16, -24};
  bound->step();
  EXPECT_EQ(gradient("w"), wanted);
  bound->step();
  EXPECT_EQ(gradient("w"), wanted) << "a pass that overwrites starts anew";
  bound->forward(true);
  bound->backward(true);
  for (std::size_t i = 0; i < wanted.size(); ++i) EXPECT_EQ(gradient("w")[i], 2 * wanted[i]);
}

TEST_F(PlanGradient, OfWeightsIsRightWhereOnlyTheBiasIsShared) {
  // One kernel writes both gradients, one of them the first in the pass and the other the second.
  Parameter& w1 = add_parameter("w1", Shape{1, 2});
  Parameter& w2 = add_parameter("w2", Shape{1, 2});
  Parameter& bias = add_parameter("bias", Shape{1});
  const Value x = graph.input("x", ElementType::activation, Shape{Shape::kBatch, 2});
  probe(graph, "a", graph.add("fc1", make_linear(w1.shape, {.bias = true}), {x}, {&w1, &bias}).front());
  probe(graph, "b", graph.add("fc2", make_linear(w2.shape, {.bias = true}), {x}, {&w2, &bias}).front());
  start({.precision = Precision::fp32});
  bound->set("x", std::vector<float>{3, 4});
  bound->set("a.c", std::vector<float>{1});
  bound->set("b.c", std::vector<float>{10});
  for (int repeat = 0; repeat < 2; ++repeat) {
    bound->step();
    EXPECT_EQ(gradient("w1"), (std::vector<float>{3, 4}));
    EXPECT_EQ(gradient("w2"), (std::vector<float>{30, 40}));
    EXPECT_EQ(gradient("bias"), (std::vector<float>{11}));
  }
  bound->backward(true);
  EXPECT_EQ(gradient("w1"), (std::vector<float>{6, 8}));
  EXPECT_EQ(gradient("bias"), (std::vector<float>{22}));
}

TEST_F(PlanGradient, AddsUpOverMicroBatchesAndSoDoesTheLoss) {
  const Value x = graph.input("x", ElementType::activation, Shape{Shape::kBatch, 2});
  probe(graph, "loss", graph.linear("fc", x, 1));
  start({.precision = Precision::mixed, .batch = 2});
  assign(parameter("fc.weight").weight, std::vector<float>{1, 1});
  assign(parameter("fc.bias").weight, std::vector<float>{0.5F});
  bound->set("loss.c", std::vector<float>{1, 1});
  bound->set("x", std::vector<float>{1, 2, 3, 4});
  bound->step();
  bound->set("x", std::vector<float>{5, 6, 7, 8});
  bound->forward(true);
  bound->backward(true);
  EXPECT_EQ(gradient("fc.weight"), (std::vector<float>{16, 20}));
  EXPECT_EQ(gradient("fc.bias"), (std::vector<float>{4}));
  EXPECT_EQ(bound->get("loss")[0], 38);
}

TEST_F(PlanGradient, IsTimesTheLossScaleOverTheNominalWeight) {
  const Value x = graph.input("x", ElementType::activation, Shape{Shape::kBatch, 1});
  probe(graph, "loss", graph.linear("fc", x, 1, {.bias = false}));
  start({.precision = Precision::mixed, .nominal_weight = 8});
  bound->set("x", std::vector{3.0F});
  bound->set("loss.c", std::vector{1.0F});
  memory->set_loss_scale(1024);
  bound->step();
  EXPECT_EQ(gradient("fc.weight")[0], 3 * 1024 / 8);
}

TEST_F(PlanGradient, FlowsThroughFrozenParametersButNotInto) {
  build_classifier(graph, "resnet-18", {.height = 8, .width = 8, .channels = 1, .classes = 3}, {.width = 4});
  start({.precision = Precision::fp32, .batch = 2, .trainable = [](const Parameter& p) {
           return p.name == "layer2.0.conv2.weight";
         }});
  backend.poison(MemoryKind::gradients);
  bound->set_images(1, 3);
  bound->step();
  ASSERT_EQ(bound->plan().trained(), (std::vector<Parameter*>{&parameter("layer2.0.conv2.weight")}));
  for (const auto& p : model.parameters()) {
    const bool touched = std::ranges::none_of(floats(p->gradient), [](float g) { return std::isnan(g); });
    EXPECT_EQ(touched, p->name == "layer2.0.conv2.weight") << p->name;
  }
  EXPECT_TRUE(has_kernel("layer3.0.conv1", "Conv2dBackwardData"));
  EXPECT_FALSE(has_kernel("layer3.0.conv1", "Conv2dBackwardWeights"));
  EXPECT_FALSE(has_kernel("layer2.0.conv2", "Conv2dBackwardData")) << "nothing before it is trained";
  EXPECT_FALSE(has_kernel("layer2.0.bn1", "BatchNormBackward"));
}

TEST_F(PlanGradient, OfFrozenPartsOfAnOperationGoesNowhere) {
  // Kernels compute some gradients together; those of frozen parameters must not be written, those of others be right.
  const Value x = source(graph, "x", Shape{Shape::kBatch, 3}, 4);
  probe(graph, "loss", graph.linear("fc", graph.batch_norm("bn", x), 2));
  const auto step_with = [&](std::function<bool(const Parameter&)> trainable) {
    start({.precision = Precision::fp32, .batch = 4, .trainable = std::move(trainable)});
    assign(parameter("x").weight, numbers(12, 1));
    bound->set("loss.c", numbers(8, 2));
    bound->step();
  };
  step_with(nullptr);
  const std::vector<float> x_wanted = gradient("x"), bias_wanted = gradient("fc.bias"), beta_wanted = gradient("bn.bias");
  step_with([](const Parameter& p) { return p.name != "fc.weight" && p.name != "bn.weight"; });
  EXPECT_EQ(gradient("x"), x_wanted);
  EXPECT_EQ(gradient("fc.bias"), bias_wanted);
  EXPECT_EQ(gradient("bn.bias"), beta_wanted);
  EXPECT_TRUE(std::isnan(gradient("fc.weight")[0]));
  EXPECT_TRUE(std::isnan(gradient("bn.weight")[0]));
}

TEST_F(PlanGradient, OfImagesIsNotComputed) {
  build_classifier(graph, "lenet", {});
  start({.precision = Precision::mixed, .batch = 2});
  EXPECT_TRUE(has_kernel("conv1", "Conv2dBackwardWeights"));
  EXPECT_FALSE(has_kernel("conv1", "Conv2dBackwardData"));
  EXPECT_TRUE(has_kernel("conv2", "Conv2dBackwardData"));
}

TEST_F(PlanGradient, IsTrainedOnlyWhereTheLossDependsOnTheParameter) {
  const Value x = graph.input("x", ElementType::activation, Shape{Shape::kBatch, 2});
  probe(graph, "loss", graph.linear("used", x, 1, {.bias = false}));
  graph.linear("unused", x, 1, {.bias = false});
  start({.precision = Precision::fp32});
  EXPECT_EQ(bound->plan().trained(), (std::vector<Parameter*>{&parameter("used.weight")}));
  EXPECT_FALSE(has_kernel("unused", "LinearForward")) << "nobody reads what it computes";
}

}  // namespace
}  // namespace minim::test
