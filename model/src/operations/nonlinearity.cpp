#include "minim/runtime/kernels/nonlinearity.h"

#include <fmt/format.h>

#include <cmath>

#include "minim/model/operations.h"
#include "minim/runtime/error.h"
#include "operations/expect.h"

namespace minim {

namespace {

class ElementwiseFunction final : public Operation {
 public:
  explicit ElementwiseFunction(Nonlinearity function) : function_(function) {
    if (!(function.slope > 0) || std::isinf(function.slope)) {
      throw InvalidArgument(fmt::format("{}: slope {}, wanted more than 0", type(), function.slope));
    }
  }

  std::string_view type() const override {
    switch (function_.kind) {
      case Nonlinearity::Kind::leaky_relu: return "leaky_relu";
      case Nonlinearity::Kind::sigmoid: return "sigmoid";
      case Nonlinearity::Kind::tanh: return "tanh";
      case Nonlinearity::Kind::gelu: return "gelu";
    }
    return "unknown";
  }

  std::vector<ValueSpec> infer(std::span<const ValueSpec> inputs) const override {
    operations::expect_inputs(inputs, 1);
    operations::expect_floating(inputs[0]);
    return {inputs[0]};
  }

  void forward(PlanContext& context) const override {
    const TensorView y = context.output(0);
    context.emit(NonlinearityForward{.x = context.input(0), .y = y, .function = function_}, flops(y));
  }

  /// From y where that suffices, so that it may lie over x.
  void backward(PlanContext& context) const override {
    const TensorView dx = context.input_gradient(0);
    const ConstTensorView value = function_.derives_from_input() ? context.input(0) : context.output(0);
    context.emit(NonlinearityBackward{.value = value, .dy = context.output_gradient(0), .dx = dx, .function = function_},
                 flops(dx));
  }

  bool in_place() const override { return true; }

 private:
  /// One per element, as of every function that is a call rather than a sum of products.
  static double flops(const ConstTensorView& y) { return static_cast<double>(y.elements()); }

  Nonlinearity function_;
};

}  // namespace

std::unique_ptr<Operation> make_nonlinearity(Nonlinearity function) { return std::make_unique<ElementwiseFunction>(function); }

}  // namespace minim
