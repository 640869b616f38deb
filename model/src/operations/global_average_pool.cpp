#include <fmt/format.h>

#include "minim/model/operations.h"
#include "minim/runtime/error.h"
#include "operations/expect.h"

namespace minim {

namespace {

class GlobalAveragePool final : public Operation {
 public:
  std::string_view type() const override { return "global_average_pool"; }

  std::vector<ValueSpec> infer(std::span<const ValueSpec> inputs) const override {
    operations::expect_inputs(inputs, 1);
    operations::expect_floating(inputs[0]);
    operations::expect_rank(inputs[0], 4, "[N, H, W, C]");
    const Shape& x = inputs[0].shape;
    if (x[1] < 1 || x[2] < 1) {
      throw InvalidArgument(fmt::format("input {} has no positions to average, wanted at least 1 x 1", x.to_string()));
    }
    return {{Shape{x[0], x[3]}, inputs[0].element}};
  }

  void forward(PlanContext& context) const override {
    const ConstTensorView x = context.input(0);
    context.emit(GlobalAveragePoolForward{.x = x, .y = context.output(0)}, static_cast<double>(x.elements()));
  }

  void backward(PlanContext& context) const override {
    const TensorView dx = context.input_gradient(0);
    context.emit(GlobalAveragePoolBackward{.dy = context.output_gradient(0), .dx = dx}, static_cast<double>(dx.elements()));
  }
};

}  // namespace

std::unique_ptr<Operation> make_global_average_pool() { return std::make_unique<GlobalAveragePool>(); }

}  // namespace minim
