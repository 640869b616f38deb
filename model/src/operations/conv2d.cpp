#include <fmt/format.h>

#include "minim/model/operations.h"
#include "minim/runtime/error.h"
#include "operations/expect.h"
#include "operations/weight_gradients.h"

namespace minim {

namespace {

class Conv2d final : public Operation {
 public:
  Conv2d(Shape weight, Conv2dOptions options) : weight_(weight), options_(options) {}

  std::string_view type() const override { return "conv2d"; }
  Activation activation() const override { return options_.activation; }

  std::vector<ValueSpec> infer(std::span<const ValueSpec> inputs) const override {
    operations::expect_inputs(inputs, 1);
    operations::expect_activation(inputs[0]);
    operations::expect_rank(inputs[0], 4, "[N, H, W, C]");
    const Shape& x = inputs[0].shape;
    const Conv2dGeometry& g = options_.geometry;
    check_weight(x[3]);
    const std::int64_t h =
        operations::window_output(x, "height", x[1], options_.kernel_h, g.stride_h, g.pad_top + g.pad_bottom, g.dilation_h);
    const std::int64_t w =
        operations::window_output(x, "width", x[2], options_.kernel_w, g.stride_w, g.pad_left + g.pad_right, g.dilation_w);
    return {{Shape{x[0], h, w, weight_[0]}, ElementType::activation}};
  }

  void forward(PlanContext& context) const override {
    const TensorView y = context.output(0);
    context.emit(Conv2dForward{.x = context.input(0),
                               .w = context.weight(0),
                               .bias = options_.bias ? context.weight(1) : ConstTensorView{},
                               .y = y,
                               .geometry = options_.geometry,
                               .activation = options_.activation,
                               .workspace = {}},
                 flops(y));
  }

  /// Weights first: their gradient can travel sooner, and x is free before dx takes its place.
  void backward(PlanContext& context) const override {
    const ConstTensorView dy = context.output_gradient(0);
    backward_weights(context, dy);
    if (const TensorView dx = context.input_gradient(0); dx.present()) {
      context.emit(Conv2dBackwardData{.dy = dy, .w = context.weight(0), .dx = dx, .geometry = options_.geometry, .workspace = {}},
                   flops(dy));
    }
  }

 private:
  void check_weight(std::int64_t channels) const {
    const std::int64_t groups = options_.geometry.groups;
    operations::expect_weight(weight_, weight_.rank() == 4 && weight_[2] == options_.kernel_h && weight_[3] == options_.kernel_w,
                              fmt::format("[O, C / groups, {}, {}]", options_.kernel_h, options_.kernel_w));
    if (groups < 1 || channels % groups != 0 || weight_[0] % groups != 0 || weight_[0] < 1) {
      throw InvalidArgument(
          fmt::format("{} input and {} output channels do not divide into {} groups", channels, weight_[0], groups));
    }
    operations::expect_channels(channels, weight_[1] * groups, "weight");
  }

  /// A multiplication and an addition per element of a window.
  double flops(const ConstTensorView& y) const {
    const std::int64_t window = weight_[1] * weight_[2] * weight_[3];
    return 2.0 * static_cast<double>(y.elements()) * static_cast<double>(window);
  }

  void backward_weights(PlanContext& context, const ConstTensorView& dy) const {
    const auto [dw, dbias] = operations::weight_gradients(context, options_.bias);
    if (!dw.present()) return;
    context.emit(
        Conv2dBackwardWeights{
            .x = context.input(0), .dy = dy, .dw = dw, .dbias = dbias, .geometry = options_.geometry, .workspace = {}},
        flops(dy));
  }

  Shape weight_;
  Conv2dOptions options_;
};

}  // namespace

std::unique_ptr<Operation> make_conv2d(Shape weight, Conv2dOptions options) { return std::make_unique<Conv2d>(weight, options); }

}  // namespace minim
