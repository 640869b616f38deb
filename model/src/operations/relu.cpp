#include "minim/model/operations.h"
#include "operations/expect.h"

namespace minim {

namespace {

class Relu final : public Operation {
 public:
  std::string_view type() const override { return "relu"; }

  std::vector<ValueSpec> infer(std::span<const ValueSpec> inputs) const override {
    operations::expect_inputs(inputs, 1);
    operations::expect_floating(inputs[0]);
    return {inputs[0]};
  }

  void forward(PlanContext& context) const override {
    const TensorView y = context.output(0);
    context.emit(ReluForward{.x = context.input(0), .y = y}, static_cast<double>(y.elements()));
  }

  /// The sign of y decides, so that y may lie over x.
  void backward(PlanContext& context) const override {
    const TensorView dx = context.input_gradient(0);
    context.emit(ReluBackward{.y = context.output(0), .dy = context.output_gradient(0), .dx = dx},
                 static_cast<double>(dx.elements()));
  }

  bool in_place() const override { return true; }
};

}  // namespace

std::unique_ptr<Operation> make_relu() { return std::make_unique<Relu>(); }

}  // namespace minim
