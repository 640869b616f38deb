#include <fmt/format.h>

#include "minim/model/operations.h"
#include "minim/runtime/error.h"
#include "operations/expect.h"

namespace minim {

namespace {

class LocalResponseNorm final : public Operation {
 public:
  explicit LocalResponseNorm(ResponseWindow window) : window_(window) {
    if (window.size < 1 || window.size % 2 == 0 || window.size > kMaxResponseWindow) {
      throw InvalidArgument(fmt::format("local_response_norm: window of {} channels, wanted an odd number up to {}", window.size,
                                        kMaxResponseWindow));
    }
    if (!(window.k > 0) || !(window.alpha >= 0) || !(window.beta >= 0)) {
      throw InvalidArgument(
          fmt::format("local_response_norm: k {}, alpha {}, beta {}, wanted k more than 0, the others at least 0", window.k,
                      window.alpha, window.beta));
    }
  }

  std::string_view type() const override { return "local_response_norm"; }

  std::vector<ValueSpec> infer(std::span<const ValueSpec> inputs) const override {
    operations::expect_inputs(inputs, 1);
    operations::expect_floating(inputs[0]);
    operations::expect_rank(inputs[0], 4, "[N, H, W, C]");
    return {inputs[0]};
  }

  void forward(PlanContext& context) const override {
    const TensorView y = context.output(0);
    context.emit(LocalResponseNormForward{.x = context.input(0), .y = y, .window = window_}, flops(y));
  }

  void backward(PlanContext& context) const override {
    const TensorView dx = context.input_gradient(0);
    context.emit(LocalResponseNormBackward{.x = context.input(0), .dy = context.output_gradient(0), .dx = dx, .window = window_},
                 2 * flops(dx));
  }

 private:
  /// A multiplication and an addition per element of a window.
  double flops(const ConstTensorView& y) const {
    return 2.0 * static_cast<double>(y.elements()) * static_cast<double>(window_.size);
  }

  ResponseWindow window_;
};

}  // namespace

std::unique_ptr<Operation> make_local_response_norm(ResponseWindow window) { return std::make_unique<LocalResponseNorm>(window); }

}  // namespace minim
