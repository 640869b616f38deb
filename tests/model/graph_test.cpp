#include "minim/model/graph.h"

#include <gtest/gtest.h>

#include <functional>
#include <numeric>

#include "minim/model/operations.h"
#include "minim/runtime/error.h"

namespace minim {
namespace {

constexpr std::int64_t kN = Shape::kBatch;

struct GraphTest : testing::Test {
  Model model;
  Graph graph{model, Graph::Mode::training};
  Value image() { return graph.input("images", ElementType::activation, Shape{kN, 8, 8, 3}); }
};

template <class F>
std::string message(F f) {
  try {
    f();
  } catch (const InvalidArgument& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST_F(GraphTest, InfersShapesWhileTheBatchIsUnknown) {
  Value x = graph.conv2d("conv", image(), 16, {.kernel_h = 3, .kernel_w = 3, .geometry = {.stride_h = 2, .stride_w = 2}});
  EXPECT_EQ(graph.spec(x).shape, (Shape{kN, 3, 3, 16}));
  x = graph.flatten("flat", x);
  EXPECT_EQ(graph.spec(x).shape, (Shape{kN, 144}));
  EXPECT_EQ(graph.spec(graph.linear("fc", x, 10)).shape, (Shape{kN, 10}));
}

TEST_F(GraphTest, NamesOfOperationsAreUnique) {
  const Value x = image();
  graph.relu("a", x);
  EXPECT_EQ(message([&] { graph.relu("a", x); }), "relu \"a\": the graph has an operation of that name");
}

TEST_F(GraphTest, NamesOfInputsAndOutputsAreUnique) {
  const Value x = image();
  EXPECT_EQ(message([&] { image(); }), "the graph has an input \"images\" already");
  graph.output("y", x);
  EXPECT_EQ(message([&] { graph.output("y", x); }), "the graph has an output \"y\" already");
}

TEST_F(GraphTest, ConvolutionWeightsLieAsOhwiAndOthersAsTheyAre) {
  graph.linear("fc", graph.flatten("flat", graph.conv2d("conv", image(), 4, {.kernel_h = 5, .kernel_w = 3, .bias = true})), 7);
  ASSERT_EQ(model.parameters().size(), 4U);
  const Parameter& conv = *model.parameters()[0];
  EXPECT_EQ(conv.name, "conv.weight");
  EXPECT_EQ(conv.shape, (Shape{4, 3, 5, 3}));
  EXPECT_EQ(physical_shape(conv.shape, conv.layout), (Shape{4, 5, 3, 3}));
  EXPECT_TRUE(conv.decay);
  EXPECT_EQ(model.parameters()[1]->name, "conv.bias");
  EXPECT_FALSE(model.parameters()[1]->decay);
  EXPECT_EQ(model.parameters()[2]->shape, (Shape{7, 4 * 6 * 4}));
  EXPECT_TRUE(model.parameters()[2]->layout.order.empty());
}

TEST_F(GraphTest, ConvolutionsStartFromTheDeviationOfHe) {
  graph.conv2d("conv", image(), 50, {.kernel_h = 2, .kernel_w = 2});
  // sqrt(2 / (50 * 2 * 2)), by fan-out.
  EXPECT_DOUBLE_EQ(model.parameters()[0]->initializer.value, 0.1);
  EXPECT_EQ(model.parameters()[0]->initializer.kind, Initializer::Kind::normal);
}

TEST_F(GraphTest, NormalisationIsKeptInFp32AndDoesNotDecay) {
  graph.batch_norm("bn", image(), {.gamma_initial = 0.5});
  for (const auto& p : model.parameters()) {
    EXPECT_TRUE(p->keep_fp32);
    EXPECT_FALSE(p->decay);
  }
  EXPECT_EQ(model.parameters()[0]->initializer.value, 0.5);
  ASSERT_EQ(model.states().size(), 2U);
  EXPECT_EQ(model.states()[0]->name, "bn.running_mean");
  EXPECT_EQ(model.states()[0]->initial, 0);
  EXPECT_EQ(model.states()[1]->name, "bn.running_var");
  EXPECT_EQ(model.states()[1]->initial, 1);
}

TEST_F(GraphTest, GraphsOfOneModelShareParametersByName) {
  graph.batch_norm("bn", graph.conv2d("conv", image(), 4, {}));
  Graph evaluation(model, Graph::Mode::evaluation);
  evaluation.batch_norm(
      "bn", evaluation.conv2d("conv", evaluation.input("images", ElementType::activation, Shape{kN, 8, 8, 3}), 4, {}));
  EXPECT_EQ(model.parameters().size(), 3U);
  EXPECT_EQ(model.states().size(), 2U);
  EXPECT_EQ(evaluation.nodes()[0].parameters, graph.nodes()[0].parameters);
}

TEST_F(GraphTest, AMismatchWithTheModelNamesBothShapesAndChangesNothing) {
  graph.conv2d("res4a_2b", image(), 4, {});
  Graph other(model, Graph::Mode::training);
  const Value x = other.input("images", ElementType::activation, Shape{kN, 8, 8, 5});
  EXPECT_EQ(message([&] { other.conv2d("res4a_2b", x, 4, {}); }),
            "conv2d \"res4a_2b\": input has 5 channels, the weight wants 3");
  graph.linear("fc", graph.flatten("flat", graph.nodes().front().outputs.front()), 2);
  EXPECT_EQ(message([&] {
              other.linear("fc", other.input("features", ElementType::activation, Shape{kN, 7}), 2);
            }),
            "linear \"fc\": input [N, 7] has 7 features, the weight [2, 256] wants 256");
  EXPECT_EQ(message([&] { other.batch_norm("bn", other.input("scalar", ElementType::activation, Shape{})); }),
            "batch_norm \"bn\": input has shape [], wanted [N, ..., C]");
  EXPECT_EQ(model.parameters().size(), 3U);
  EXPECT_TRUE(other.nodes().empty());
}

TEST_F(GraphTest, LinearOfImagesHasItsColumnsInTheOrderOfChannelsRowsAndColumns) {
  const Value y = graph.linear("fc", image(), 2);
  EXPECT_EQ(graph.spec(y).shape, (Shape{kN, 2}));
  const Parameter& weight = *model.parameters().front();
  EXPECT_EQ(weight.shape, (Shape{2, 192}));
  EXPECT_EQ(physical_shape(weight.shape, weight.layout), weight.shape);
  std::vector<float> logical(384), physical(384);
  std::iota(logical.begin(), logical.end(), 0.0F);
  to_physical(weight.shape, weight.layout, logical, physical);
  EXPECT_EQ(physical[0], 0);
  EXPECT_EQ(physical[1], 64) << "the next channel of the same pixel";
  EXPECT_EQ(physical[3], 1) << "the next pixel";
  EXPECT_EQ(physical[192], 192) << "the next output";
}

TEST_F(GraphTest, CountsOfValidSamplesFollowTheFirstDimension) {
  const Value count = graph.input("valid_samples", ElementType::int32, Shape{1});
  const Value x = graph.input("x", ElementType::activation, Shape{kN, 4, 4, 2}, count);
  const Value labels = graph.input("labels", ElementType::int32, Shape{kN});
  const Value pooled = graph.global_average_pool("pool", graph.relu("relu", x));
  ASSERT_TRUE(graph.valid_samples(pooled).has_value());
  EXPECT_EQ(graph.valid_samples(pooled)->id, count.id);
  EXPECT_FALSE(graph.valid_samples(labels).has_value());
  EXPECT_FALSE(graph.valid_samples(graph.softmax_cross_entropy("loss", pooled, labels).loss).has_value());
}

TEST_F(GraphTest, DifferentCountsOfValidSamplesDoNotMix) {
  const auto counted = [&](const std::string& name) {
    return graph.input(name, ElementType::activation, Shape{kN, 2}, graph.input(name + ".n", ElementType::int32, Shape{1}));
  };
  const Value a = counted("a"), b = counted("b");
  EXPECT_EQ(message([&] { graph.sum("s", {a, b}); }), "sum \"s\": its inputs have different counts of valid samples");
}

TEST_F(GraphTest, DropoutAddsItsInputsOnceAndNoneInEvaluation) {
  graph.dropout("b", graph.dropout("a", image(), 0.5), 0.5);
  ASSERT_EQ(graph.inputs().size(), 3U);
  EXPECT_EQ(graph.inputs()[1].name, "attempted_step");
  EXPECT_EQ(graph.inputs()[2].name, "sample_ids");
  EXPECT_EQ(graph.spec(graph.inputs()[2].value).shape, (Shape{kN}));

  Graph evaluation(model, Graph::Mode::evaluation);
  const Value x = evaluation.input("x", ElementType::activation, Shape{kN, 2});
  EXPECT_EQ(evaluation.dropout("a", x, 0.5).id, x.id);
  EXPECT_EQ(evaluation.inputs().size(), 1U);
}

TEST_F(GraphTest, ValuesOfNobodyAreRefused) {
  EXPECT_EQ(message([&] { graph.relu("a", Value{}); }), "value -1 is not of this graph, which has 0 values");
}

TEST(Model, CountsLogicalElementsAndKeepsOneParameterPerName) {
  Model model;
  Parameter p;
  p.name = "w";
  p.shape = Shape{3, 5};
  Parameter& first = model.parameter(p);
  EXPECT_EQ(&model.parameter(p), &first);
  EXPECT_EQ(model.parameter_count(), 15);
  p.shape = Shape{5, 3};
  EXPECT_EQ(message([&] { model.parameter(p); }), "parameter \"w\": the model has it with shape [3, 5], this use wants [5, 3]");
  p.shape = Shape{3, 5};
  p.layout.order = {1, 0};
  EXPECT_EQ(message([&] { model.parameter(p); }), "parameter \"w\": the model has it with another order of dimensions in memory");
}

TEST(Model, UsesOfOneNameThatDifferAreRefusedWithWhatDiffers) {
  Model model;
  Parameter first;
  first.name = "w";
  first.shape = Shape{3};
  first.initializer = Initializer::normal(0.5);
  model.parameter(first);
  const auto refusal = [&](const std::function<void(Parameter&)>& change) {
    Parameter other = first;
    change(other);
    return message([&] { model.parameter(other); });
  };
  EXPECT_EQ(refusal([](Parameter& p) { p.initializer = Initializer::normal(0.25); }),
            "parameter \"w\": the model has it with initializer normal 0.5, this use wants normal 0.25");
  EXPECT_EQ(refusal([](Parameter& p) { p.initializer = Initializer::uniform(0.5); }),
            "parameter \"w\": the model has it with initializer normal 0.5, this use wants uniform 0.5");
  EXPECT_EQ(refusal([](Parameter& p) { p.keep_fp32 = true; }),
            "parameter \"w\": the model has it with keep_fp32 false, this use wants true");
  EXPECT_EQ(refusal([](Parameter& p) { p.decay = false; }),
            "parameter \"w\": the model has it with decay true, this use wants false");
  EXPECT_EQ(refusal([](Parameter& p) { p.group = "head"; }),
            "parameter \"w\": the model has it with group \"default\", this use wants \"head\"");
  model.state({.name = "mean", .shape = Shape{3}});
  EXPECT_EQ(message([&] { model.state({.name = "mean", .shape = Shape{3}, .initial = 1}); }),
            "state \"mean\": the model has it with initial value 0, this use wants 1");
  EXPECT_EQ(model.parameters().size(), 1U);
}

}  // namespace
}  // namespace minim
