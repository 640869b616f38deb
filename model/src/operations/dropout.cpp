#include <fmt/format.h>

#include "minim/model/operations.h"
#include "minim/runtime/error.h"
#include "operations/expect.h"

namespace minim {

namespace {

/// Of training graphs; evaluation graphs leave it out.
class Dropout final : public Operation {
 public:
  explicit Dropout(double rate) : rate_(rate) {
    if (!(rate >= 0 && rate < 1)) throw InvalidArgument(fmt::format("dropout: rate {}, wanted one in [0, 1)", rate));
  }

  std::string_view type() const override { return "dropout"; }

  std::vector<ValueSpec> infer(std::span<const ValueSpec> inputs) const override {
    operations::expect_inputs(inputs, 1);
    operations::expect_floating(inputs[0]);
    if (inputs[0].shape.rank() < 1 || inputs[0].shape[0] != Shape::kBatch) {
      throw InvalidArgument(fmt::format("input has shape {}, wanted [N, ...]: each sample has random numbers of its own",
                                        inputs[0].shape.to_string()));
    }
    return {inputs[0]};
  }

  void forward(PlanContext& context) const override {
    const TensorView y = context.output(0);
    context.emit(DropoutForward{.x = context.input(0), .y = y, .rate = rate_, .random = context.random_key()},
                 static_cast<double>(y.elements()));
  }

  /// The mask is drawn again rather than kept.
  void backward(PlanContext& context) const override {
    const TensorView dx = context.input_gradient(0);
    context.emit(DropoutBackward{.dy = context.output_gradient(0), .dx = dx, .rate = rate_, .random = context.random_key()},
                 static_cast<double>(dx.elements()));
  }

  bool in_place() const override { return true; }
  bool is_random() const override { return true; }

 private:
  double rate_;
};

}  // namespace

std::unique_ptr<Operation> make_dropout(double rate) { return std::make_unique<Dropout>(rate); }

}  // namespace minim
