#include <fmt/format.h>

#include "minim/model/operations.h"
#include "minim/runtime/error.h"
#include "operations/expect.h"

namespace minim {

namespace {

class SumOperation final : public Operation {
 public:
  std::string_view type() const override { return "sum"; }

  std::vector<ValueSpec> infer(std::span<const ValueSpec> inputs) const override {
    if (inputs.empty()) throw InvalidArgument("has no inputs, wants at least one");
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      operations::expect_floating(inputs[i]);
      if (inputs[i].shape == inputs[0].shape && inputs[i].element == inputs[0].element) continue;
      throw InvalidArgument(fmt::format("input {} has shape {}, input 0 has {}; wanted equal shapes and types", i,
                                        inputs[i].shape.to_string(), inputs[0].shape.to_string()));
    }
    return {inputs[0]};
  }

  void forward(PlanContext& context) const override {
    std::vector<ConstTensorView> inputs;
    for (int i = 0; i < context.inputs(); ++i) inputs.push_back(context.input(i));
    const TensorView y = context.output(0);
    const double flops = static_cast<double>(y.elements()) * (context.inputs() - 1);
    context.emit(Sum{.inputs = std::move(inputs), .y = y}, flops);
  }

  void backward(PlanContext& context) const override {
    for (int i = 0; i < context.inputs(); ++i) context.pass_gradient(i, 0);
  }

  bool in_place() const override { return true; }
};

}  // namespace

std::unique_ptr<Operation> make_sum() { return std::make_unique<SumOperation>(); }

}  // namespace minim
