#include "minim/model/operations.h"
#include "minim/runtime/error.h"
#include "operations/expect.h"

namespace minim {

namespace {

class Flatten final : public Operation {
 public:
  std::string_view type() const override { return "flatten"; }

  std::vector<ValueSpec> infer(std::span<const ValueSpec> inputs) const override {
    operations::expect_inputs(inputs, 1);
    const Shape& x = inputs[0].shape;
    if (x.rank() < 1) throw InvalidArgument("input has rank 0, wanted [N, ...]");
    return {{Shape{x[0], x.elements_per_sample()}, inputs[0].element}};
  }

  void forward(PlanContext&) const override {}
  void backward(PlanContext& context) const override { context.pass_gradient(0, 0); }
  bool is_view() const override { return true; }
};

}  // namespace

std::unique_ptr<Operation> make_flatten() { return std::make_unique<Flatten>(); }

}  // namespace minim
