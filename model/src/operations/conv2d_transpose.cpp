#include <fmt/format.h>

#include "minim/model/operations.h"
#include "minim/runtime/error.h"
#include "minim/runtime/kernels/bias.h"
#include "operations/expect.h"

namespace minim {

namespace {

/// One side of the output, whose convolution has the input's size.
std::int64_t transposed_size(std::string_view side, std::int64_t size, std::int64_t window, std::int64_t stride,
                             std::int64_t padding, std::int64_t dilation, std::int64_t output_padding) {
  operations::expect_window(side, window, stride, padding, dilation);
  if (output_padding < 0 || output_padding >= stride) {
    throw InvalidArgument(
        fmt::format("{} has output padding {}, wanted 0 or more and less than the stride {}", side, output_padding, stride));
  }
  const std::int64_t result = (size - 1) * stride - padding + dilation * (window - 1) + output_padding + 1;
  if (size >= 1 && result >= 1) return result;
  throw InvalidArgument(fmt::format("input has {} {}, of which padding {} leaves {}", side, size, padding, result));
}

class Conv2dTranspose final : public Operation {
 public:
  Conv2dTranspose(Shape weight, Conv2dTransposeOptions options) : weight_(weight), options_(options) {}

  std::string_view type() const override { return "conv2d_transpose"; }

  std::vector<ValueSpec> infer(std::span<const ValueSpec> inputs) const override {
    operations::expect_inputs(inputs, 1);
    operations::expect_activation(inputs[0]);
    operations::expect_rank(inputs[0], 4, "[N, H, W, C]");
    const Shape& x = inputs[0].shape;
    const Conv2dGeometry& g = options_.geometry;
    check_weight(x[3]);
    const std::int64_t h = transposed_size("height", x[1], options_.kernel_h, g.stride_h, g.pad_top + g.pad_bottom, g.dilation_h,
                                           options_.output_padding_h);
    const std::int64_t w = transposed_size("width", x[2], options_.kernel_w, g.stride_w, g.pad_left + g.pad_right, g.dilation_w,
                                           options_.output_padding_w);
    return {{Shape{x[0], h, w, weight_[1] * g.groups}, ElementType::activation}};
  }

  void forward(PlanContext& context) const override {
    const ConstTensorView x = context.input(0);
    const TensorView y = context.output(0);
    context.emit(Conv2dBackwardData{.dy = x, .w = context.weight(0), .dx = y, .geometry = options_.geometry, .workspace = {}},
                 flops(x));
    if (options_.bias) context.emit(AddBias{.bias = context.weight(1), .y = y}, static_cast<double>(y.elements()));
  }

  /// Weights first: their gradient can travel sooner.
  void backward(PlanContext& context) const override {
    const ConstTensorView x = context.input(0), dy = context.output_gradient(0);
    if (const TensorView dw = context.weight_gradient(0); dw.present()) {
      context.emit(Conv2dBackwardWeights{.x = dy, .dy = x, .dw = dw, .dbias = {}, .geometry = options_.geometry, .workspace = {}},
                   flops(x));
    }
    if (const TensorView dbias = options_.bias ? context.weight_gradient(1) : TensorView{}; dbias.present()) {
      context.emit(BiasGradient{.dy = dy, .dbias = dbias, .workspace = {}}, static_cast<double>(dy.elements()));
    }
    if (const TensorView dx = context.input_gradient(0); dx.present()) {
      context.emit(
          Conv2dForward{.x = dy, .w = context.weight(0), .bias = {}, .y = dx, .geometry = options_.geometry, .workspace = {}},
          flops(x));
    }
  }

 private:
  void check_weight(std::int64_t channels) const {
    const std::int64_t groups = options_.geometry.groups;
    operations::expect_weight(
        weight_, weight_.rank() == 4 && weight_[1] >= 1 && weight_[2] == options_.kernel_h && weight_[3] == options_.kernel_w,
        fmt::format("[C, O / groups, {}, {}]", options_.kernel_h, options_.kernel_w));
    operations::expect_channels(channels, weight_[0], "weight");
    if (groups < 1 || channels % groups != 0) {
      throw InvalidArgument(fmt::format("{} input channels do not divide into {} groups", channels, groups));
    }
  }

  /// A multiplication and an addition per element of the input and of its window in the output.
  double flops(const ConstTensorView& x) const {
    const std::int64_t window = weight_[1] * weight_[2] * weight_[3];
    return 2.0 * static_cast<double>(x.elements()) * static_cast<double>(window);
  }

  Shape weight_;
  Conv2dTransposeOptions options_;
};

}  // namespace

std::unique_ptr<Operation> make_conv2d_transpose(Shape weight, Conv2dTransposeOptions options) {
  return std::make_unique<Conv2dTranspose>(weight, options);
}

}  // namespace minim
