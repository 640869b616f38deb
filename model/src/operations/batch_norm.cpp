#include "minim/runtime/kernels/batch_norm.h"

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
constexpr double kInferenceFlops = 2;
// Normalise again, two products into two sums; then dx of three terms.
constexpr double kBackwardFlops = 11;

class BatchNorm final : public Operation {
 public:
  BatchNorm(std::int64_t channels, BatchNormOptions options) : channels_(channels), options_(options) {}

  std::string_view type() const override { return "batch_norm"; }

  std::vector<ValueSpec> infer(std::span<const ValueSpec> inputs) const override {
    operations::expect_inputs(inputs, 1);
    operations::expect_floating(inputs[0]);
    if (inputs[0].shape.rank() < 2) {
      throw InvalidArgument(fmt::format("input has shape {}, wanted [N, ..., C]", inputs[0].shape.to_string()));
    }
    operations::expect_channels(inputs[0].shape[-1], channels_, "scale");
    return {inputs[0]};
  }

  void forward(PlanContext& context) const override {
    if (context.training()) {
      forward_training(context);
    } else {
      forward_inference(context);
    }
  }

  void backward(PlanContext& context) const override {
    const ConstTensorView x = context.input(0);
    context.emit(BatchNormBackward{.x = x,
                                   .dy = context.output_gradient(0),
                                   .gamma = context.weight(0),
                                   .mean = statistic(context, kMean),
                                   .rstd = statistic(context, kRstd),
                                   .dx = or_scratch(context.input_gradient(0), context, kScratch, x),
                                   .dgamma = or_scratch(context.weight_gradient(0), context, kScratch + 1, context.weight(0)),
                                   .dbeta = or_scratch(context.weight_gradient(1), context, kScratch + 2, context.weight(1)),
                                   .valid_samples = context.valid_samples(0),
                                   .workspace = {}},
                 kBackwardFlops * static_cast<double>(x.elements()));
  }

  bool backward_in_place() const override { return true; }

 private:
  TensorView statistic(PlanContext& context, int slot) const { return context.saved(slot, DType::fp32, Shape{channels_}); }

  /// The kernel computes all three gradients; what nobody wants goes to scratch.
  static TensorView or_scratch(TensorView wanted, PlanContext& context, int slot, const ConstTensorView& like) {
    return wanted.present() ? wanted : context.saved(slot, like.dtype(), like.shape());
  }

  void forward_training(PlanContext& context) const {
    const TensorView y = context.output(0);
    context.emit(BatchNormForward{.x = context.input(0),
                                  .gamma = context.weight(0),
                                  .beta = context.weight(1),
                                  .y = y,
                                  .mean = statistic(context, kMean),
                                  .rstd = statistic(context, kRstd),
                                  .running_mean = context.state(0).pending,
                                  .running_variance = context.state(1).pending,
                                  .momentum = options_.momentum,
                                  .epsilon = options_.epsilon,
                                  .valid_samples = context.valid_samples(0),
                                  .workspace = {}},
                 kForwardFlops * static_cast<double>(y.elements()));
  }

  void forward_inference(PlanContext& context) const {
    const TensorView y = context.output(0);
    context.emit(BatchNormInference{.x = context.input(0),
                                    .gamma = context.weight(0),
                                    .beta = context.weight(1),
                                    .mean = context.state(0).committed,
                                    .variance = context.state(1).committed,
                                    .y = y,
                                    .epsilon = options_.epsilon},
                 kInferenceFlops * static_cast<double>(y.elements()));
  }

  std::int64_t channels_;
  BatchNormOptions options_;
};

}  // namespace

std::unique_ptr<Operation> make_batch_norm(std::int64_t channels, BatchNormOptions options) {
  return std::make_unique<BatchNorm>(channels, options);
}

}  // namespace minim
