#include "minim/runtime/kernels/layer_norm.h"

#include <fmt/format.h>

#include "minim/model/operations.h"
#include "minim/runtime/error.h"
#include "operations/expect.h"

namespace minim {

namespace {

// Slots of saved tensors.
constexpr int kMean = 0;
constexpr int kRstd = 1;
constexpr int kScratch = 2;

// Arithmetic per element: sum, deviation, square, sum of squares; centre, normalise, scale, shift.
constexpr double kForwardFlops = 8;
// Scale, normalise, a product into two sums; then dx of three terms.
constexpr double kDataFlops = 11;
// Normalise, a product into two sums.
constexpr double kWeightFlops = 5;

class LayerNorm final : public Operation {
 public:
  LayerNorm(std::int64_t channels, LayerNormOptions options) : channels_(channels), options_(options) {
    if (!(options.epsilon > 0)) throw InvalidArgument(fmt::format("layer_norm: epsilon {}, wanted more than 0", options.epsilon));
  }

  std::string_view type() const override { return "layer_norm"; }

  std::vector<ValueSpec> infer(std::span<const ValueSpec> inputs) const override {
    operations::expect_inputs(inputs, 1);
    operations::expect_floating(inputs[0]);
    if (inputs[0].shape.rank() < 2 || inputs[0].shape[-1] < 1) {
      throw InvalidArgument(fmt::format("input has shape {}, wanted [N, ..., C] with C at least 1", inputs[0].shape.to_string()));
    }
    operations::expect_channels(inputs[0].shape[-1], channels_, "scale");
    return {inputs[0]};
  }

  void forward(PlanContext& context) const override {
    const TensorView y = context.output(0);
    context.emit(LayerNormForward{.x = context.input(0),
                                  .gamma = context.weight(0),
                                  .beta = context.weight(1),
                                  .y = y,
                                  .mean = statistic(context, kMean, y),
                                  .rstd = statistic(context, kRstd, y),
                                  .epsilon = options_.epsilon},
                 kForwardFlops * static_cast<double>(y.elements()));
  }

  /// Parameters first: dx may lie over dy.
  void backward(PlanContext& context) const override {
    const ConstTensorView x = context.input(0), dy = context.output_gradient(0);
    const TensorView dgamma = context.weight_gradient(0), dbeta = context.weight_gradient(1);
    if (dgamma.present() || dbeta.present()) {
      context.emit(LayerNormBackwardWeights{.x = x,
                                            .dy = dy,
                                            .mean = statistic(context, kMean, x),
                                            .rstd = statistic(context, kRstd, x),
                                            .dgamma = or_scratch(dgamma, context, kScratch),
                                            .dbeta = or_scratch(dbeta, context, kScratch + 1),
                                            .workspace = {}},
                   kWeightFlops * static_cast<double>(x.elements()));
    }
    if (const TensorView dx = context.input_gradient(0); dx.present()) {
      context.emit(LayerNormBackwardData{.x = x,
                                         .dy = dy,
                                         .gamma = context.weight(0),
                                         .mean = statistic(context, kMean, x),
                                         .rstd = statistic(context, kRstd, x),
                                         .dx = dx},
                   kDataFlops * static_cast<double>(x.elements()));
    }
  }

  bool in_place() const override { return true; }

 private:
  /// One number for each row of x.
  TensorView statistic(PlanContext& context, int slot, const ConstTensorView& x) const {
    return context.saved(slot, DType::fp32, Shape{x.elements() / channels_});
  }
  /// The kernel computes both; what nobody wants goes to scratch.
  TensorView or_scratch(TensorView wanted, PlanContext& context, int slot) const {
    return wanted.present() ? wanted : context.saved(slot, DType::fp32, Shape{channels_});
  }

  std::int64_t channels_;
  LayerNormOptions options_;
};

}  // namespace

std::unique_ptr<Operation> make_layer_norm(std::int64_t channels, LayerNormOptions options) {
  return std::make_unique<LayerNorm>(channels, options);
}

}  // namespace minim
