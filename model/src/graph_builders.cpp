#include <fmt/format.h>

#include <cmath>

#include "minim/model/graph.h"
#include "minim/model/operations.h"
#include "minim/runtime/error.h"

namespace minim {

namespace {

/// Convolution weights lie as OHWI, so that the channels of one position are contiguous.
Layout ohwi() { return {.order = {0, 2, 3, 1}}; }

/// `fan`: the inputs of an output element, or the outputs of an input element.
Initializer he_normal(std::int64_t fan) {
  return Initializer::normal(std::sqrt(2.0 / static_cast<double>(std::max<std::int64_t>(fan, 1))));
}

Initializer uniform_by_fan_in(std::int64_t fan_in) {
  return Initializer::uniform(1 / std::sqrt(static_cast<double>(std::max<std::int64_t>(fan_in, 1))));
}

Parameter weight_of(const std::string& name, Shape shape, Layout layout, Initializer initializer) {
  Parameter parameter;
  parameter.name = name + ".weight";
  parameter.shape = shape;
  parameter.layout = std::move(layout);
  parameter.initializer = initializer;
  return parameter;
}

Parameter bias_of(const std::string& name, std::int64_t elements, Initializer initializer) {
  Parameter parameter;
  parameter.name = name + ".bias";
  parameter.shape = Shape{elements};
  parameter.initializer = initializer;
  parameter.decay = false;
  return parameter;
}

State running(const std::string& name, std::int64_t channels, double initial) {
  State state;
  state.name = name;
  state.shape = Shape{channels};
  state.initial = initial;
  return state;
}

/// The shape that the model's parameter has already, or `otherwise`.
Shape existing_shape(const Model& model, const std::string& parameter, Shape otherwise) {
  for (const auto& existing : model.parameters()) {
    if (existing->name == parameter) return existing->shape;
  }
  return otherwise;
}

/// Channels of [N, ..., C]; 0 where there is no such dimension, which shape inference will object to.
std::int64_t last_dimension(const Shape& shape) { return shape.rank() > 0 ? shape[-1] : 0; }

}  // namespace

Value Graph::conv2d(const std::string& name, Value x, std::int64_t channels, Conv2dOptions options) {
  const std::int64_t groups = std::max<std::int64_t>(options.geometry.groups, 1);
  const Shape wanted{channels, last_dimension(spec(x).shape) / groups, options.kernel_h, options.kernel_w};
  auto operation = make_conv2d(existing_shape(*model_, name + ".weight", wanted), options);
  infer(name, *operation, std::vector{x});  // before the model is touched

  const std::int64_t fan = wanted[options.keep == Keep::gradients ? 0 : 1] * options.kernel_h * options.kernel_w;
  std::vector<Parameter*> parameters{&model_->parameter(weight_of(name, wanted, ohwi(), he_normal(fan)))};
  if (options.bias) parameters.push_back(&model_->parameter(bias_of(name, channels, Initializer::constant(0))));
  return add(name, std::move(operation), {x}, std::move(parameters)).front();
}

Value Graph::conv2d_transpose(const std::string& name, Value x, std::int64_t channels, Conv2dTransposeOptions options) {
  const std::int64_t groups = std::max<std::int64_t>(options.geometry.groups, 1);
  if (channels % groups != 0) {
    throw InvalidArgument(
        fmt::format("conv2d_transpose \"{}\": {} output channels do not divide into {} groups", name, channels, groups));
  }
  const Shape wanted{last_dimension(spec(x).shape), channels / groups, options.kernel_h, options.kernel_w};
  auto operation = make_conv2d_transpose(existing_shape(*model_, name + ".weight", wanted), options);
  infer(name, *operation, std::vector{x});

  const std::int64_t fan_out = channels * options.kernel_h * options.kernel_w;
  std::vector<Parameter*> parameters{&model_->parameter(weight_of(name, wanted, ohwi(), he_normal(fan_out)))};
  if (options.bias) parameters.push_back(&model_->parameter(bias_of(name, channels, Initializer::constant(0))));
  return add(name, std::move(operation), {x}, std::move(parameters)).front();
}

Value Graph::linear(const std::string& name, Value x, std::int64_t features, LinearOptions options) {
  Layout layout;
  if (const Shape image = spec(x).shape; image.rank() == 4) {
    layout = {.order = {0, 2, 3, 1}, .split = Shape{features, image[3], image[1], image[2]}};
    x = flatten(name + ".flatten", x);
  }
  const std::int64_t fan_in = last_dimension(spec(x).shape);
  const Shape wanted{features, fan_in};
  auto operation = make_linear(existing_shape(*model_, name + ".weight", wanted), options);
  infer(name, *operation, std::vector{x});

  std::vector<Parameter*> parameters{&model_->parameter(weight_of(name, wanted, layout, uniform_by_fan_in(fan_in)))};
  if (options.bias) parameters.push_back(&model_->parameter(bias_of(name, features, uniform_by_fan_in(fan_in))));
  return add(name, std::move(operation), {x}, std::move(parameters)).front();
}

Value Graph::batch_norm(const std::string& name, Value x, BatchNormOptions options, std::optional<Value> addend) {
  const std::int64_t channels = last_dimension(spec(x).shape);
  auto operation =
      make_batch_norm(last_dimension(existing_shape(*model_, name + ".weight", Shape{channels})), options, addend.has_value());
  std::vector<Value> inputs{x};
  if (addend) inputs.push_back(*addend);
  infer(name, *operation, inputs);

  Parameter gamma = weight_of(name, Shape{channels}, {}, Initializer::constant(options.gamma_initial));
  Parameter beta = bias_of(name, channels, Initializer::constant(0));
  gamma.decay = false;
  gamma.keep_fp32 = beta.keep_fp32 = true;
  std::vector<Parameter*> parameters{&model_->parameter(gamma), &model_->parameter(beta)};
  std::vector<State*> states{&model_->state(running(name + ".running_mean", channels, 0)),
                             &model_->state(running(name + ".running_var", channels, 1))};
  return add(name, std::move(operation), std::move(inputs), std::move(parameters), std::move(states)).front();
}

Value Graph::layer_norm(const std::string& name, Value x, LayerNormOptions options) {
  const std::int64_t channels = last_dimension(spec(x).shape);
  auto operation = make_layer_norm(last_dimension(existing_shape(*model_, name + ".weight", Shape{channels})), options);
  infer(name, *operation, std::vector{x});

  Parameter gamma = weight_of(name, Shape{channels}, {}, Initializer::constant(1));
  Parameter beta = bias_of(name, channels, Initializer::constant(0));
  gamma.decay = false;
  gamma.keep_fp32 = beta.keep_fp32 = true;
  return add(name, std::move(operation), {x}, {&model_->parameter(gamma), &model_->parameter(beta)}).front();
}

Value Graph::embedding(const std::string& name, Value indices, std::int64_t rows, std::int64_t features) {
  const Shape wanted{rows, features};
  auto operation = make_embedding(existing_shape(*model_, name + ".weight", wanted));
  infer(name, *operation, std::vector{indices});
  return add(name, std::move(operation), {indices}, {&model_->parameter(weight_of(name, wanted, {}, Initializer::normal(1)))})
      .front();
}

Value Graph::relu(const std::string& name, Value x) { return add(name, make_relu(), {x}).front(); }

Value Graph::leaky_relu(const std::string& name, Value x, double slope) {
  return add(name, make_nonlinearity({.kind = Nonlinearity::Kind::leaky_relu, .slope = slope}), {x}).front();
}

Value Graph::sigmoid(const std::string& name, Value x) {
  return add(name, make_nonlinearity({.kind = Nonlinearity::Kind::sigmoid}), {x}).front();
}

Value Graph::tanh(const std::string& name, Value x) {
  return add(name, make_nonlinearity({.kind = Nonlinearity::Kind::tanh}), {x}).front();
}

Value Graph::gelu(const std::string& name, Value x) {
  return add(name, make_nonlinearity({.kind = Nonlinearity::Kind::gelu}), {x}).front();
}

Value Graph::max_pool(const std::string& name, Value x, PoolGeometry geometry) {
  return add(name, make_max_pool(geometry), {x}).front();
}

Value Graph::average_pool(const std::string& name, Value x, PoolGeometry geometry, bool count_padding) {
  return add(name, make_average_pool(geometry, count_padding), {x}).front();
}

Value Graph::global_average_pool(const std::string& name, Value x) { return add(name, make_global_average_pool(), {x}).front(); }

Value Graph::local_response_norm(const std::string& name, Value x, ResponseWindow window) {
  return add(name, make_local_response_norm(window), {x}).front();
}

Value Graph::sum(const std::string& name, std::vector<Value> inputs) { return add(name, make_sum(), std::move(inputs)).front(); }

Value Graph::concat(const std::string& name, std::vector<Value> inputs) {
  return add(name, make_concat(), std::move(inputs)).front();
}

Value Graph::flatten(const std::string& name, Value x) { return add(name, make_flatten(), {x}).front(); }

Value Graph::dropout(const std::string& name, Value x, double rate) {
  auto operation = make_dropout(rate);
  if (mode_ == Mode::evaluation) return x;
  return add(name, std::move(operation), {x}).front();
}

LossValues Graph::softmax_cross_entropy(const std::string& name, Value logits, Value labels, LossOptions options,
                                        std::optional<Value> sample_weights) {
  std::vector<Value> inputs{logits, labels};
  if (sample_weights) inputs.push_back(*sample_weights);
  const std::vector<Value> sums = add(name, make_softmax_cross_entropy(options), std::move(inputs));
  return {sums[0], sums[1], sums[2]};
}

}  // namespace minim
