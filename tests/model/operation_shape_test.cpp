#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>
#include <ostream>

#include "minim/model/graph.h"
#include "minim/runtime/error.h"

namespace minim {
namespace {

constexpr std::int64_t kN = Shape::kBatch;

/// Something that does not fit, and the sentence that says so.
struct Misfit {
  std::string name;
  std::function<void(Graph&)> build;
  std::string message;
};
std::ostream& operator<<(std::ostream& out, const Misfit& misfit) { return out << misfit.name; }

Value input(Graph& graph, Shape shape, ElementType element = ElementType::activation) {
  return graph.input(fmt::format("x{}", graph.inputs().size()), element, shape);
}

std::vector<Misfit> misfits() {
  const Shape image{kN, 6, 7, 4};
  return {
      {"ConvolutionOfVectors",
       [](Graph& g) {
         g.conv2d("a", input(g, Shape{kN, 4}), 8, {});
       },
       "conv2d \"a\": input has shape [N, 4], wanted [N, H, W, C]"},
      {"ConvolutionWithTooLargeAWindow",
       [=](Graph& g) { g.conv2d("a", input(g, image), 8, {.kernel_h = 9, .kernel_w = 3, .geometry = {.pad_top = 1}}); },
       "conv2d \"a\": input [N, 6, 7, 4] has height 7 with padding, the window wants 9"},
      {"ConvolutionWithTooLargeADilatedWindow",
       [=](Graph& g) { g.conv2d("a", input(g, image), 8, {.kernel_h = 1, .kernel_w = 3, .geometry = {.dilation_w = 4}}); },
       "conv2d \"a\": input [N, 6, 7, 4] has width 7 with padding, the window wants 9"},
      {"ConvolutionInUnevenGroups", [=](Graph& g) { g.conv2d("a", input(g, image), 8, {.geometry = {.groups = 3}}); },
       "conv2d \"a\": 4 input and 8 output channels do not divide into 3 groups"},
      {"ConvolutionWithoutStride", [=](Graph& g) { g.conv2d("a", input(g, image), 8, {.geometry = {.stride_h = 0}}); },
       "conv2d \"a\": height has window 1, stride 0, padding 0 and dilation 1, wanted 1 or more (padding: 0 or more)"},
      {"ConvolutionOfIntegers", [=](Graph& g) { g.conv2d("a", input(g, image, ElementType::uint8), 8, {}); },
       "conv2d \"a\": input has elements of type uint8, wanted activation"},
      {"TransposedConvolutionOfVectors",
       [](Graph& g) {
         g.conv2d_transpose("a", input(g, Shape{kN, 4}), 8, {});
       },
       "conv2d_transpose \"a\": input has shape [N, 4], wanted [N, H, W, C]"},
      {"TransposedConvolutionPaddedLikeAnotherStride",
       [=](Graph& g) { g.conv2d_transpose("a", input(g, image), 8, {.geometry = {.stride_w = 2}, .output_padding_w = 2}); },
       "conv2d_transpose \"a\": width has output padding 2, wanted 0 or more and less than the stride 2"},
      {"TransposedConvolutionCutToNothing",
       [=](Graph& g) { g.conv2d_transpose("a", input(g, image), 8, {.geometry = {.pad_top = 3, .pad_bottom = 3}}); },
       "conv2d_transpose \"a\": input has height 6, of which padding 6 leaves 0"},
      {"TransposedConvolutionInUnevenGroups",
       [=](Graph& g) { g.conv2d_transpose("a", input(g, image), 9, {.geometry = {.groups = 3}}); },
       "conv2d_transpose \"a\": 4 input channels do not divide into 3 groups"},
      {"TransposedConvolutionIntoUnevenGroups",
       [=](Graph& g) { g.conv2d_transpose("a", input(g, image), 7, {.geometry = {.groups = 2}}); },
       "conv2d_transpose \"a\": 7 output channels do not divide into 2 groups"},
      {"LinearOfSequences",
       [=](Graph& g) {
         g.linear("a", input(g, Shape{kN, 6, 4}), 8);
       },
       "linear \"a\": input has shape [N, 6, 4], wanted [N, features]"},
      {"LinearIntoNothing",
       [](Graph& g) {
         g.linear("a", input(g, Shape{kN, 3}), 0);
       },
       "linear \"a\": the weight has shape [0, 3], wanted [outputs, inputs]"},
      {"NormalisationWithoutChannels", [](Graph& g) { g.batch_norm("a", input(g, Shape{kN})); },
       "batch_norm \"a\": input has shape [N], wanted [N, ..., C]"},
      {"LayerNormWithoutChannels", [](Graph& g) { g.layer_norm("a", input(g, Shape{kN})); },
       "layer_norm \"a\": input has shape [N], wanted [N, ..., C] with C at least 1"},
      {"LayerNormWithoutEpsilon", [=](Graph& g) { g.layer_norm("a", input(g, image), {.epsilon = 0}); },
       "layer_norm: epsilon 0, wanted more than 0"},
      {"EmbeddingOfActivations", [](Graph& g) { g.embedding("a", input(g, Shape{kN}), 5, 3); },
       "embedding \"a\": input has elements of type activation, wanted int32 or int64"},
      {"EmbeddingOfImages", [=](Graph& g) { g.embedding("a", input(g, image, ElementType::int32), 5, 3); },
       "embedding \"a\": input has shape [N, 6, 7, 4], wanted [N] or [N, T]"},
      {"EmbeddingInAnEmptyTable", [](Graph& g) { g.embedding("a", input(g, Shape{kN}, ElementType::int64), 0, 3); },
       "embedding \"a\": the weight has shape [0, 3], wanted [rows, features]"},
      {"ReluOfIntegers", [](Graph& g) { g.relu("a", input(g, Shape{kN}, ElementType::int32)); },
       "relu \"a\": input has elements of type int32, wanted activation or fp32"},
      {"LeakyReluWithoutSlope", [=](Graph& g) { g.leaky_relu("a", input(g, image), 0); },
       "leaky_relu: slope 0, wanted more than 0"},
      {"GeluOfIntegers", [](Graph& g) { g.gelu("a", input(g, Shape{kN}, ElementType::int64)); },
       "gelu \"a\": input has elements of type int64, wanted activation or fp32"},
      {"PoolingOfVectors",
       [](Graph& g) {
         g.max_pool("a", input(g, Shape{kN, 4}), {});
       },
       "max_pool \"a\": input has shape [N, 4], wanted [N, H, W, C]"},
      {"PoolingWithTooLargeAWindow", [=](Graph& g) { g.average_pool("a", input(g, image), {.window_h = 7, .window_w = 2}); },
       "average_pool \"a\": input [N, 6, 7, 4] has height 6 with padding, the window wants 7"},
      {"PoolingWithTooMuchPadding", [=](Graph& g) { g.max_pool("a", input(g, image), {.pad_left = 2}); },
       "max_pool \"a\": padding 0, 2, 0, 0 (top, left, bottom, right), wanted 0 or more and less than the window 2 x 2"},
      {"MaxPoolingOverMoreThanAByteCounts",
       [](Graph& g) {
         g.max_pool("a", input(g, Shape{kN, 16, 16, 1}), {.window_h = 16, .window_w = 16});
       },
       "max_pool \"a\": window 16 x 16 has more than 255 elements"},
      {"GlobalPoolingOfNothing",
       [](Graph& g) {
         g.global_average_pool("a", input(g, Shape{kN, 0, 3, 2}));
       },
       "global_average_pool \"a\": input [N, 0, 3, 2] has no positions to average, wanted at least 1 x 1"},
      {"SumOfUnequalShapes",
       [=](Graph& g) {
         g.sum("a", {input(g, image), input(g, Shape{kN, 6, 7, 5})});
       },
       "sum \"a\": input 1 has shape [N, 6, 7, 5], input 0 has [N, 6, 7, 4]; wanted equal shapes and types"},
      {"SumOfNothing", [](Graph& g) { g.sum("a", {}); }, "sum \"a\": has no inputs, wants at least one"},
      {"ConcatOfUnequalImages",
       [=](Graph& g) {
         g.concat("a", {input(g, image), input(g, Shape{kN, 6, 6, 4})});
       },
       "concat \"a\": input 1 has shape [N, 6, 6, 4], input 0 has [N, 6, 7, 4]; wanted equal ones but for the last dimension"},
      {"DropoutOfEverything", [=](Graph& g) { g.dropout("a", input(g, image), 1); }, "dropout: rate 1, wanted one in [0, 1)"},
      {"DropoutWithoutSamples",
       [](Graph& g) {
         g.dropout("a", input(g, Shape{3, 4}), 0.5);
       },
       "dropout \"a\": input has shape [3, 4], wanted [N, ...]: each sample has random numbers of its own"},
      {"ResponsesOfFeatures",
       [=](Graph& g) {
         g.local_response_norm("a", input(g, Shape{kN, 10}));
       },
       "local_response_norm \"a\": input has shape [N, 10], wanted [N, H, W, C]"},
      {"EvenResponseWindow", [=](Graph& g) { g.local_response_norm("a", input(g, image), {.size = 4}); },
       "local_response_norm: window of 4 channels, wanted an odd number up to 31"},
      {"ResponsesDividedByNothing", [=](Graph& g) { g.local_response_norm("a", input(g, image), {.k = 0}); },
       "local_response_norm: k 0, alpha 0.0001, beta 0.75, wanted k more than 0, the others at least 0"},
      {"LossOfImages", [=](Graph& g) { g.softmax_cross_entropy("a", input(g, image), input(g, Shape{kN}, ElementType::int32)); },
       "softmax_cross_entropy \"a\": input has shape [N, 6, 7, 4], wanted [N, classes]"},
      {"LossWithLabelsOfAnotherShape",
       [](Graph& g) {
         g.softmax_cross_entropy("a", input(g, Shape{kN, 10}), input(g, Shape{kN, 10}, ElementType::int32));
       },
       "softmax_cross_entropy \"a\": labels have shape [N, 10], the logits [N, 10] want int32 [N]"},
      {"LossWithSmoothingAboveOne",
       [](Graph& g) {
         g.softmax_cross_entropy("a", input(g, Shape{kN, 10}), input(g, Shape{kN}, ElementType::int32), {.label_smoothing = 1.5});
       },
       "softmax_cross_entropy: label smoothing 1.5, wanted one in [0, 1]"},
      {"LossWithoutWeight",
       [=](Graph& g) {
         g.softmax_cross_entropy("a", input(g, Shape{kN, 10}), input(g, Shape{kN}, ElementType::int32), {.weight = 0});
       },
       "softmax_cross_entropy: weight 0, wanted more than 0"},
  };
}

class OperationShape : public testing::TestWithParam<Misfit> {};

TEST_P(OperationShape, ThatDoesNotFitIsRefusedInOneSentence) {
  Model model;
  Graph graph(model, Graph::Mode::training);
  try {
    GetParam().build(graph);
    FAIL() << "nothing was thrown";
  } catch (const InvalidArgument& error) {
    EXPECT_EQ(std::string(error.what()), GetParam().message);
  }
  EXPECT_TRUE(graph.nodes().empty());
  EXPECT_TRUE(model.parameters().empty());
}

INSTANTIATE_TEST_SUITE_P(All, OperationShape, testing::ValuesIn(misfits()),
                         [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace minim
