#include "model/operation_cases.h"

#include <fmt/format.h>

#include <cmath>

namespace minim::test {

namespace {

constexpr std::int64_t kN = Shape::kBatch;

using Values = std::vector<Value>;

OperationCase conv2d(std::string name, Shape x, std::int64_t batch, std::int64_t channels, Conv2dOptions options, int terms) {
  return {std::move(name), {x},
          batch,           [=](Graph& g, const Values& v) { return g.conv2d("op", v[0], channels, options); },
          terms,           options.activation != Activation::none};
}

OperationCase linear(std::string name, Shape x, std::int64_t batch, std::int64_t features, LinearOptions options, int terms) {
  return {std::move(name), {x},
          batch,           [=](Graph& g, const Values& v) { return g.linear("op", v[0], features, options); },
          terms,           options.activation != Activation::none};
}

std::vector<OperationCase> convolutions() {
  Conv2dOptions strided{.kernel_h = 3, .kernel_w = 3, .bias = true};
  strided.geometry = {.stride_h = 2, .stride_w = 2, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};
  Conv2dOptions grouped{.kernel_h = 2, .kernel_w = 3, .bias = false};
  grouped.geometry = {.dilation_h = 2, .dilation_w = 2, .groups = 2};
  Conv2dOptions uneven{.kernel_h = 3, .kernel_w = 2, .bias = true};
  uneven.geometry = {.stride_h = 1, .stride_w = 3, .pad_top = 2, .pad_left = 0, .pad_bottom = 0, .pad_right = 1};
  Conv2dOptions activated = strided, activated_without_bias = grouped;
  activated.activation = activated_without_bias.activation = Activation::relu;
  // Longest sums: of dw, over samples and positions; of y, over the window.
  return {conv2d("conv2d_strided_and_padded", Shape{kN, 5, 7, 3}, 2, 4, strided, 36),
          conv2d("conv2d_grouped_and_dilated", Shape{kN, 7, 6, 4}, 2, 6, grouped, 20),
          conv2d("conv2d_unevenly_padded", Shape{kN, 4, 5, 1}, 3, 2, uneven, 24),
          conv2d("conv2d_of_one_position", Shape{kN, 1, 1, 5}, 1, 3, {}, 5),
          conv2d("conv2d_activated", Shape{kN, 5, 7, 3}, 2, 4, activated, 36),
          conv2d("conv2d_activated_without_bias", Shape{kN, 7, 6, 4}, 2, 6, activated_without_bias, 20)};
}

OperationCase conv2d_transpose(std::string name, Shape x, std::int64_t batch, std::int64_t channels,
                               Conv2dTransposeOptions options, int terms, double rounded_before = 0) {
  return {std::move(name), {x},
          batch,           [=](Graph& g, const Values& v) { return g.conv2d_transpose("op", v[0], channels, options); },
          terms,           false,
          rounded_before};
}

std::vector<OperationCase> transposed_convolutions() {
  Conv2dTransposeOptions doubling{.kernel_h = 4, .kernel_w = 4};
  doubling.geometry = {.stride_h = 2, .stride_w = 2, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};
  Conv2dTransposeOptions uneven{.kernel_h = 3, .kernel_w = 2, .output_padding_h = 1, .output_padding_w = 2};
  uneven.geometry = {.stride_h = 2, .stride_w = 3, .pad_top = 2, .pad_left = 0, .pad_bottom = 0, .pad_right = 1, .dilation_w = 2};
  Conv2dTransposeOptions grouped{.kernel_h = 2, .kernel_w = 3, .geometry = {.groups = 2}};
  Conv2dTransposeOptions biased = doubling;
  biased.bias = true;
  // Longest sums: of dw and dbias, over samples and positions. Up to 12 products are rounded before a bias is added to them.
  return {conv2d_transpose("conv2d_transpose_doubling", Shape{kN, 3, 4, 3}, 2, 4, doubling, 64),
          conv2d_transpose("conv2d_transpose_uneven", Shape{kN, 3, 2, 2}, 3, 3, uneven, 18),
          conv2d_transpose("conv2d_transpose_grouped", Shape{kN, 3, 2, 4}, 2, 6, grouped, 18),
          conv2d_transpose("conv2d_transpose_with_bias", Shape{kN, 3, 4, 3}, 2, 4, biased, 96, 12)};
}

std::vector<OperationCase> products() {
  return {linear("linear", Shape{kN, 7}, 3, 5, {}, 8), linear("linear_without_bias", Shape{kN, 1}, 1, 1, {.bias = false}, 1),
          linear("linear_activated", Shape{kN, 7}, 3, 5, {.activation = Activation::relu}, 8),
          linear("linear_activated_without_bias", Shape{kN, 7}, 3, 5, {.bias = false, .activation = Activation::relu}, 7)};
}

std::vector<OperationCase> pools() {
  const PoolGeometry overlapping{
      .window_h = 3, .window_w = 3, .stride_h = 2, .stride_w = 2, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};
  const PoolGeometry uneven{.window_h = 2, .window_w = 3, .stride_h = 2, .stride_w = 1, .pad_top = 0, .pad_left = 2};
  return {
      {"max_pool",
       {Shape{kN, 5, 7, 3}},
       2,
       [=](Graph& g, const Values& v) { return g.max_pool("op", v[0], overlapping); },
       4,
       true},
      {"max_pool_uneven",
       {Shape{kN, 4, 3, 1}},
       1,
       [=](Graph& g, const Values& v) { return g.max_pool("op", v[0], uneven); },
       3,
       true},
      {"average_pool",
       {Shape{kN, 5, 7, 3}},
       2,
       [=](Graph& g, const Values& v) { return g.average_pool("op", v[0], overlapping); },
       9},
      {"average_pool_counting_padding",
       {Shape{kN, 4, 3, 2}},
       3,
       [=](Graph& g, const Values& v) { return g.average_pool("op", v[0], uneven, true); },
       6},
      {"global_average_pool",
       {Shape{kN, 3, 5, 7}},
       2,
       [](Graph& g, const Values& v) { return g.global_average_pool("op", v[0]); },
       15},
  };
}

Value indices(Graph& g, Shape shape) { return g.input("indices", ElementType::int32, shape); }

std::vector<OperationCase> others() {
  const Shape image{kN, 3, 5, 2};
  return {
      {"batch_norm_of_images", {Shape{kN, 4, 5, 3}}, 3, [](Graph& g, const Values& v) { return g.batch_norm("op", v[0]); }, 60},
      {"batch_norm_of_features", {Shape{kN, 5}}, 7, [](Graph& g, const Values& v) { return g.batch_norm("op", v[0]); }, 7},
      {"batch_norm_with_addend",
       {image, image},
       3,
       [](Graph& g, const Values& v) { return g.batch_norm("op", v[0], {}, v[1]); },
       45},
      {"local_response_norm",
       {Shape{kN, 2, 2, 7}},
       2,
       [](Graph& g, const Values& v) { return g.local_response_norm("op", v[0], {.size = 3, .alpha = 2, .beta = 0.75, .k = 1}); },
       8},
      {"layer_norm_of_images", {Shape{kN, 2, 3, 9}}, 2, [](Graph& g, const Values& v) { return g.layer_norm("op", v[0]); }, 12},
      {"layer_norm_of_features", {Shape{kN, 19}}, 3, [](Graph& g, const Values& v) { return g.layer_norm("op", v[0]); }, 19},
      {"embedding", {}, 3, [](Graph& g, const Values&) { return g.embedding("op", indices(g, Shape{kN}), 4, 5); }, 3},
      {"embedding_of_sequences",
       {},
       2,
       [](Graph& g, const Values&) {
         return g.embedding("op", indices(g, Shape{kN, 6}), 4, 3);
       },
       12},
      {"relu", {image}, 3, [](Graph& g, const Values& v) { return g.relu("op", v[0]); }, 1, true},
      {"leaky_relu", {image}, 3, [](Graph& g, const Values& v) { return g.leaky_relu("op", v[0], 0.25); }, 1, true},
      // y |1 - 2 y| and 2 y^2 at x = 1: these derive from a y that is rounded.
      {"sigmoid", {image}, 3, [](Graph& g, const Values& v) { return g.sigmoid("op", v[0]); }, 1, false, 0.34},
      {"tanh", {image}, 3, [](Graph& g, const Values& v) { return g.tanh("op", v[0]); }, 1, false, 1.2},
      {"gelu", {image}, 3, [](Graph& g, const Values& v) { return g.gelu("op", v[0]); }},
      {"sum", {image, image, image}, 3, [](Graph& g, const Values& v) { return g.sum("op", v); }, 3},
      {"sum_with_itself",
       {image},
       3,
       [](Graph& g, const Values& v) {
         return g.sum("op", {v[0], v[0]});
       },
       2},
      {"concat", {image, Shape{kN, 3, 5, 1}, Shape{kN, 3, 5, 4}}, 2, [](Graph& g, const Values& v) { return g.concat("op", v); }},
      {"flatten", {image}, 3, [](Graph& g, const Values& v) { return g.flatten("op", v[0]); }},
      {"dropout", {image}, 3, [](Graph& g, const Values& v) { return g.dropout("op", v[0], 0.4); }},
  };
}

}  // namespace

std::vector<OperationCase> operation_cases() {
  std::vector<OperationCase> all = convolutions();
  for (auto* more : {transposed_convolutions, products, pools, others}) {
    for (OperationCase& c : more()) all.push_back(std::move(c));
  }
  return all;
}

RunningCase::RunningCase(const OperationCase& operation, Backend& backend, Precision precision)
    : graph_(model_, Graph::Mode::training) {
  Values inputs;
  for (std::size_t i = 0; i < operation.inputs.size(); ++i) {
    inputs.push_back(source(graph_, fmt::format("x{}", i), operation.inputs[i], operation.batch));
  }
  const Value y = operation.build(graph_, inputs);
  graph_.output("y", y);
  probe(graph_, "loss", y);

  memory_ = std::make_unique<ParameterMemory>(model_, backend, precision);
  bound_ =
      std::make_unique<BoundPlan>(graph_, backend, *memory_, CompileOptions{.precision = precision, .batch = operation.batch});
  std::uint32_t seed = 1;
  for (const auto& p : model_.parameters()) assign(p->weight, numbers(p->weight.elements(), seed++));
  bound_->set("loss.c", numbers(bound_->plan().input("loss.c").elements(), seed));
  if (bound_->plan().has_input("indices")) {
    std::vector<float> indices(static_cast<std::size_t>(bound_->plan().input("indices").elements()));
    for (std::size_t i = 0; i < indices.size(); ++i) indices[i] = static_cast<float>(i * i % 4);
    bound_->set("indices", indices);
  }
  if (bound_->plan().has_input("sample_ids")) {
    const auto samples = static_cast<std::size_t>(operation.batch);
    std::vector<float> ids(samples);
    for (std::size_t i = 0; i < samples; ++i) ids[i] = static_cast<float>(100 + i);
    bound_->set("sample_ids", ids);
    bound_->set("attempted_step", std::vector{7.0F});
  }
}

RunningCase::Sums RunningCase::forward() {
  bound_->forward();
  const std::vector<float> y = bound_->get("y"), c = floats(bound_->plan().input("loss.c"));
  Sums sums;
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double product = static_cast<double>(c[i]) * y[i];
    sums.value += product;
    sums.magnitude += std::abs(product);
  }
  return sums;
}

}  // namespace minim::test
