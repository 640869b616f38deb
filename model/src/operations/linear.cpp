#include "minim/runtime/kernels/linear.h"

#include <fmt/format.h>

#include "minim/model/operations.h"
#include "minim/runtime/error.h"
#include "operations/expect.h"
#include "operations/weight_gradients.h"

namespace minim {

namespace {

class Linear final : public Operation {
 public:
  Linear(Shape weight, LinearOptions options) : weight_(weight), options_(options) {}

  std::string_view type() const override { return "linear"; }
  Activation activation() const override { return options_.activation; }

  std::vector<ValueSpec> infer(std::span<const ValueSpec> inputs) const override {
    operations::expect_inputs(inputs, 1);
    operations::expect_activation(inputs[0]);
    operations::expect_rank(inputs[0], 2, "[N, features]");
    operations::expect_weight(weight_, weight_.rank() == 2 && weight_[0] >= 1, "[outputs, inputs]");
    const Shape& x = inputs[0].shape;
    if (x[1] != weight_[1]) {
      throw InvalidArgument(
          fmt::format("input {} has {} features, the weight {} wants {}", x.to_string(), x[1], weight_.to_string(), weight_[1]));
    }
    return {{Shape{x[0], weight_[0]}, ElementType::activation}};
  }

  void forward(PlanContext& context) const override {
    const TensorView y = context.output(0);
    context.emit(LinearForward{.x = context.input(0),
                               .w = context.weight(0),
                               .bias = options_.bias ? context.weight(1) : ConstTensorView{},
                               .y = y,
                               .activation = options_.activation,
                               .workspace = {}},
                 flops(y));
  }

  void backward(PlanContext& context) const override {
    const ConstTensorView dy = context.output_gradient(0);
    backward_weights(context, dy);
    if (const TensorView dx = context.input_gradient(0); dx.present()) {
      context.emit(LinearBackwardData{.dy = dy, .w = context.weight(0), .dx = dx, .workspace = {}}, flops(dy));
    }
  }

 private:
  double flops(const ConstTensorView& y) const {
    return 2.0 * static_cast<double>(y.elements()) * static_cast<double>(weight_[1]);
  }

  void backward_weights(PlanContext& context, const ConstTensorView& dy) const {
    const auto [dw, dbias] = operations::weight_gradients(context, options_.bias);
    if (!dw.present()) return;
    context.emit(LinearBackwardWeights{.x = context.input(0), .dy = dy, .dw = dw, .dbias = dbias, .workspace = {}}, flops(dy));
  }

  Shape weight_;
  LinearOptions options_;
};

}  // namespace

std::unique_ptr<Operation> make_linear(Shape weight, LinearOptions options) { return std::make_unique<Linear>(weight, options); }

}  // namespace minim
