#include "minim/runtime/kernels/batch_norm.h"

#include <fmt/format.h>

#include <utility>

#include "minim/model/operations.h"
#include "minim/runtime/error.h"
#include "operations/expect.h"

namespace minim {

namespace {

// Slots of saved tensors.
constexpr int kMean = 0;
constexpr int kRstd = 1;
constexpr int kMoments = 2;  // of all ranks
constexpr int kSums = 3;     // of all ranks
constexpr int kScratch = 4;

// Arithmetic per element: sum, deviation, square, sum of squares; centre, normalise, scale, shift.
constexpr double kMomentsFlops = 4;
constexpr double kNormaliseFlops = 4;
constexpr double kInferenceFlops = 2;
// Normalise again, two products into two sums; then dx of three terms.
constexpr double kSumsFlops = 6;
constexpr double kGradientFlops = 5;

class BatchNorm final : public Operation {
 public:
  BatchNorm(std::int64_t channels, BatchNormOptions options, bool addend)
      : channels_(channels), options_(options), addend_(addend) {}

  std::string_view type() const override { return "batch_norm"; }

  std::vector<ValueSpec> infer(std::span<const ValueSpec> inputs) const override {
    operations::expect_inputs(inputs, addend_ ? 2 : 1);
    operations::expect_floating(inputs[0]);
    if (inputs[0].shape.rank() < 2) {
      throw InvalidArgument(fmt::format("input has shape {}, wanted [N, ..., C]", inputs[0].shape.to_string()));
    }
    operations::expect_channels(inputs[0].shape[-1], channels_, "scale");
    if (addend_ && (inputs[1].shape != inputs[0].shape || inputs[1].element != inputs[0].element)) {
      throw InvalidArgument(fmt::format("the addend has shape {}, wanted {} and the type of the input",
                                        inputs[1].shape.to_string(), inputs[0].shape.to_string()));
    }
    return {inputs[0]};
  }

  /// An addend wants the gradient in front of the activation, too. Without one the backward kernel finds it by itself.
  Activation activation() const override { return addend_ ? options_.activation : Activation::none; }

  void forward(PlanContext& context) const override {
    if (context.training()) {
      forward_training(context);
    } else {
      forward_inference(context);
    }
  }

  void backward(PlanContext& context) const override {
    const ConstTensorView x = context.input(0), gamma = context.weight(0), beta = context.weight(1);
    const auto elements = static_cast<double>(x.elements());
    const Activation activation = addend_ ? Activation::none : options_.activation;
    BatchNormBackward gradient{.x = x,
                               .dy = context.output_gradient(0),
                               .gamma = gamma,
                               .beta = beta,
                               .mean = statistic(context, kMean),
                               .rstd = statistic(context, kRstd),
                               .dx = or_scratch(context.input_gradient(0), context, kScratch, x),
                               .dgamma = or_scratch(context.weight_gradient(0), context, kScratch + 1, gamma),
                               .dbeta = or_scratch(context.weight_gradient(1), context, kScratch + 2, beta),
                               .activation = activation,
                               .valid_samples = context.valid_samples(0),
                               .sums = {},
                               .workspace = {}};
    if (context.ranks() > 1) {
      const TensorView sums = of_ranks(context, kSums);
      context.emit(BatchNormSums{.x = x,
                                 .dy = gradient.dy,
                                 .gamma = gamma,
                                 .beta = beta,
                                 .mean = gradient.mean,
                                 .rstd = gradient.rstd,
                                 .dgamma = std::exchange(gradient.dgamma, {}),
                                 .dbeta = std::exchange(gradient.dbeta, {}),
                                 .sums = own(context, sums),
                                 .activation = activation,
                                 .valid_samples = gradient.valid_samples,
                                 .workspace = {}},
                   kSumsFlops * elements);
      context.all_gather(sums, "sums of gradients");
      gradient.sums = sums;
      context.emit(gradient, kGradientFlops * elements);
    } else {
      context.emit(gradient, (kSumsFlops + kGradientFlops) * elements);
    }
    if (addend_) context.pass_gradient(1, 0);
  }

  bool backward_in_place() const override { return true; }

 private:
  TensorView statistic(PlanContext& context, int slot) const { return context.saved(slot, DType::fp32, Shape{channels_}); }

  /// What ranks tell each other: two values per channel, and how many rows these cover.
  TensorView of_ranks(PlanContext& context, int slot) const {
    return context.saved(slot, DType::fp32, Shape{context.ranks(), 2 * channels_ + 1});
  }
  TensorView own(PlanContext& context, const TensorView& gathered) const {
    const std::int64_t elements = 2 * channels_ + 1;
    return gathered.slice(context.rank() * elements, (context.rank() + 1) * elements);
  }

  /// The kernel computes all three gradients; what nobody wants goes to scratch.
  static TensorView or_scratch(TensorView wanted, PlanContext& context, int slot, const ConstTensorView& like) {
    return wanted.present() ? wanted : context.saved(slot, like.dtype(), like.shape());
  }

  ConstTensorView addend(PlanContext& context) const { return addend_ ? context.input(1) : ConstTensorView{}; }

  void forward_training(PlanContext& context) const {
    const ConstTensorView x = context.input(0);
    const TensorView y = context.output(0);
    const auto elements = static_cast<double>(y.elements());
    BatchNormForward normalise{.x = x,
                               .gamma = context.weight(0),
                               .beta = context.weight(1),
                               .addend = addend(context),
                               .y = y,
                               .mean = statistic(context, kMean),
                               .rstd = statistic(context, kRstd),
                               .running_mean = context.state(0).pending,
                               .running_variance = context.state(1).pending,
                               .momentum = options_.momentum,
                               .epsilon = options_.epsilon,
                               .activation = options_.activation,
                               .valid_samples = context.valid_samples(0),
                               .moments = {},
                               .workspace = {}};
    if (context.ranks() == 1) return context.emit(normalise, (kMomentsFlops + kNormaliseFlops) * elements);
    const TensorView moments = of_ranks(context, kMoments);
    context.emit(
        BatchNormMoments{.x = x, .valid_samples = normalise.valid_samples, .moments = own(context, moments), .workspace = {}},
        kMomentsFlops * elements);
    context.all_gather(moments, "statistics");
    normalise.moments = moments;
    context.emit(normalise, kNormaliseFlops * elements);
  }

  void forward_inference(PlanContext& context) const {
    const TensorView y = context.output(0);
    context.emit(BatchNormInference{.x = context.input(0),
                                    .gamma = context.weight(0),
                                    .beta = context.weight(1),
                                    .mean = context.state(0).committed,
                                    .variance = context.state(1).committed,
                                    .addend = addend(context),
                                    .y = y,
                                    .epsilon = options_.epsilon,
                                    .activation = options_.activation},
                 kInferenceFlops * static_cast<double>(y.elements()));
  }

  std::int64_t channels_;
  BatchNormOptions options_;
  bool addend_;
};

}  // namespace

std::unique_ptr<Operation> make_batch_norm(std::int64_t channels, BatchNormOptions options, bool addend) {
  return std::make_unique<BatchNorm>(channels, options, addend);
}

}  // namespace minim
