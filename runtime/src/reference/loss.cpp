#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "reference/elements.h"
#include "reference/kernels.h"

namespace minim::reference {
namespace {

void check_labels(const ConstTensorView& labels, std::int64_t valid_samples, std::int64_t classes) {
  for (std::int64_t n = 0; n < valid_samples; ++n) {
    const std::int32_t label = labels.data<std::int32_t>()[n];
    if (label < 0 || label >= classes) {
      throw DataError(fmt::format("sample {} of the batch has label {}: 0 to {} is wanted", n, label, classes - 1));
    }
  }
}

double target(std::int64_t k, std::int64_t label, double label_smoothing, std::int64_t classes) {
  return (k == label ? 1 - label_smoothing : 0) + label_smoothing / static_cast<double>(classes);
}

/// The logits of one sample.
struct Logits {
  Logits(const ConstTensorView& view, std::int64_t n) : in(view), classes(view.shape()[1]), first(n * classes) {}
  double operator[](std::int64_t k) const { return in[first + k]; }

  /// The first of the largest.
  std::int64_t largest() const {
    std::int64_t best = 0;
    for (std::int64_t k = 1; k < classes; ++k) best = (*this)[k] > (*this)[best] ? k : best;
    return best;
  }
  double log_sum_exp() const {
    const double shift = (*this)[largest()];
    double sum = 0;
    for (std::int64_t k = 0; k < classes; ++k) sum += std::exp((*this)[k] - shift);
    return shift + std::log(sum);
  }

  Input in;
  std::int64_t classes;
  std::int64_t first;
};

}  // namespace

void run(const SoftmaxCrossEntropyForward& args) {
  const std::int64_t samples = args.logits.shape()[0], classes = args.logits.shape()[1];
  const std::int64_t valid_samples = count_valid(args.valid_samples, samples);
  check_labels(args.labels, valid_samples, classes);
  const Input sample_weights(args.sample_weights);
  double loss_sum = 0, weight_sum = 0, correct_sum = 0;
  for (std::int64_t n = 0; n < valid_samples; ++n) {
    const Logits logits(args.logits, n);
    const std::int64_t label = args.labels.data<std::int32_t>()[n];
    const double weight = args.sample_weights.present() ? sample_weights[n] : 1;
    const double log_sum_exp = logits.log_sum_exp();
    double loss = 0;
    for (std::int64_t k = 0; k < classes; ++k) {
      const double t = target(k, label, args.label_smoothing, classes);
      if (t != 0) loss += t * (log_sum_exp - logits[k]);  // 0 times an infinite logit is nothing here
    }
    loss_sum += weight * loss;
    weight_sum += weight;
    if (logits.largest() == label && !std::isnan(log_sum_exp)) correct_sum += weight;
    Output(args.log_sum_exp).store(n, log_sum_exp);
  }
  for (std::int64_t n = valid_samples; n < samples; ++n) Output(args.log_sum_exp).store(n, 0);
  const auto finish = [&](const TensorView& view, double sum) {
    const Output out(view);
    out.store(0, sum + (args.accumulate ? out[0] : 0.0));
  };
  finish(args.loss, loss_sum);
  finish(args.weight, weight_sum);
  finish(args.correct, correct_sum);
}

void run(const SoftmaxCrossEntropyBackward& args) {
  const std::int64_t samples = args.logits.shape()[0], classes = args.logits.shape()[1];
  const std::int64_t valid_samples = count_valid(args.valid_samples, samples);
  check_labels(args.labels, valid_samples, classes);
  const Input sample_weights(args.sample_weights), log_sum_exp(args.log_sum_exp), loss_scale(args.loss_scale);
  const Output dlogits(args.dlogits);
  for (std::int64_t n = 0; n < valid_samples; ++n) {
    const Logits logits(args.logits, n);
    const std::int64_t label = args.labels.data<std::int32_t>()[n];
    const double weight = args.sample_weights.present() ? sample_weights[n] : 1;
    for (std::int64_t k = 0; k < classes; ++k) {
      const double softmax = std::exp(logits[k] - log_sum_exp[n]);
      const double error = softmax - target(k, label, args.label_smoothing, classes);
      dlogits.store(n * classes + k, weight * error * loss_scale[0] / args.nominal_weight);
    }
  }
  for (std::int64_t i = valid_samples * classes; i < samples * classes; ++i) dlogits.store(i, 0);
}

}  // namespace minim::reference
