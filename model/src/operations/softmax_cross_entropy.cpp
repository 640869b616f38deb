#include <fmt/format.h>

#include "minim/model/operations.h"
#include "minim/runtime/error.h"
#include "minim/runtime/kernels/loss.h"
#include "operations/expect.h"

namespace minim {

namespace {

constexpr int kLogSumExp = 0;
// Arithmetic per logit: largest, subtract, exponential, sum; and in backward: subtract, exponential, target, scale.
constexpr double kFlops = 4;

class SoftmaxCrossEntropy final : public Operation {
 public:
  explicit SoftmaxCrossEntropy(LossOptions options) : options_(options) {
    if (!(options.label_smoothing >= 0 && options.label_smoothing <= 1)) {
      throw InvalidArgument(
          fmt::format("softmax_cross_entropy: label smoothing {}, wanted one in [0, 1]", options.label_smoothing));
    }
    if (!(options.weight > 0)) {
      throw InvalidArgument(fmt::format("softmax_cross_entropy: weight {}, wanted more than 0", options.weight));
    }
  }

  std::string_view type() const override { return "softmax_cross_entropy"; }

  std::vector<ValueSpec> infer(std::span<const ValueSpec> inputs) const override {
    if (inputs.size() != 3) operations::expect_inputs(inputs, 2);
    operations::expect_floating(inputs[0]);
    operations::expect_rank(inputs[0], 2, "[N, classes]");
    expect_per_sample("labels", inputs[1], ElementType::int32, "int32", inputs[0].shape);
    if (inputs.size() == 3) expect_per_sample("sample weights", inputs[2], ElementType::fp32, "fp32", inputs[0].shape);
    return std::vector<ValueSpec>(3, {Shape{1}, ElementType::fp32});
  }

  void forward(PlanContext& context) const override {
    const ConstTensorView logits = context.input(0);
    context.emit(SoftmaxCrossEntropyForward{.logits = logits,
                                            .labels = context.input(1),
                                            .sample_weights = sample_weights(context),
                                            .valid_samples = context.valid_samples(0),
                                            .log_sum_exp = log_sum_exp(context, logits),
                                            .loss = context.output(0),
                                            .weight = context.output(1),
                                            .correct = context.output(2),
                                            .label_smoothing = options_.label_smoothing,
                                            .workspace = {}},
                 kFlops * static_cast<double>(logits.elements()));
  }

  void backward(PlanContext& context) const override {
    const ConstTensorView logits = context.input(0);
    context.emit(SoftmaxCrossEntropyBackward{.logits = logits,
                                             .labels = context.input(1),
                                             .sample_weights = sample_weights(context),
                                             .valid_samples = context.valid_samples(0),
                                             .log_sum_exp = log_sum_exp(context, logits),
                                             .loss_scale = context.loss_scale(),
                                             .nominal_weight = context.nominal_weight() / options_.weight,
                                             .label_smoothing = options_.label_smoothing,
                                             .dlogits = context.input_gradient(0)},
                 kFlops * static_cast<double>(logits.elements()));
  }

  bool is_loss() const override { return true; }

 private:
  static void expect_per_sample(std::string_view what, const ValueSpec& found, ElementType element, std::string_view element_name,
                                const Shape& logits) {
    if (found.element == element && found.shape == Shape{logits[0]}) return;
    throw InvalidArgument(fmt::format("{} have shape {}, the logits {} want {} {}", what, found.shape.to_string(),
                                      logits.to_string(), element_name, Shape{logits[0]}.to_string()));
  }

  static ConstTensorView sample_weights(PlanContext& context) {
    return context.inputs() == 3 ? context.input(2) : ConstTensorView{};
  }

  static TensorView log_sum_exp(PlanContext& context, const ConstTensorView& logits) {
    return context.saved(kLogSumExp, DType::fp32, Shape{logits.shape()[0]});
  }

  LossOptions options_;
};

}  // namespace

std::unique_ptr<Operation> make_softmax_cross_entropy(LossOptions options) {
  return std::make_unique<SoftmaxCrossEntropy>(options);
}

}  // namespace minim
