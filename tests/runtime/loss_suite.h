#pragma once

#include <algorithm>

#include "minim/runtime/kernels/loss.h"
#include "runtime/kernel_case.h"

/// What every set of kernels for softmax cross-entropy does.
namespace minim::loss_suite {

using kernel_case::expect_rounded_once;
using kernel_case::kUnit;
using kernel_case::value_at;

/// Magnitude of the logits in the random cases.
inline constexpr double kLogit = 20;
/// Largest minus smallest logit.
inline constexpr double kRange = 2 * kLogit;

/// FP32 additions that a term passes in a sum over classes. CPU: in a block of 32 vectors, over blocks of vectors of one lane at
/// least, and over 16 lanes. GPU: no more than classes / 128 in a thread, 5 in its warp and 3 over warps.
inline double depth(std::int64_t classes) { return 32 + static_cast<double>(classes) / 32 + 4; }

/// Roundoffs in an exponential: up to two units in the last place.
inline constexpr double kExponential = 4;

/// Of log(sum of exponentials) of one sample: each exponent is rounded, and each exponential, then their sum; the logarithm is
/// off by one unit in the last place.
inline double log_sum_error(std::int64_t classes) {
  return (kRange + kExponential + depth(classes) + 2 * std::log(static_cast<double>(classes))) * kUnit;
}

class KernelLoss : public kernel_case::KernelCase {
 protected:
  struct Options {
    DType dtype = DType::fp32;
    std::int64_t samples = 5;
    std::int64_t classes = 10;
    double label_smoothing = 0;
    bool weighted = false;
    std::int64_t valid = 5;
    bool accumulate = false;
  };
  struct Outputs {
    Tensor log_sum_exp, loss, weight, correct;
  };

  void make_batch(const Options& o) {
    logits_ = make_filled(o.dtype, {o.samples, o.classes}, 1, -kLogit, kLogit);
    labels_ = make(DType::int32, {o.samples});
    for (std::int64_t n = 0; n < o.samples; ++n) {
      labels_.view().data<std::int32_t>()[n] = static_cast<std::int32_t>((n * 7 + 3) % o.classes);
      if (n % 2 == 0) kernel_case::set_value(logits_, n * o.classes + (n * 7 + 3) % o.classes, kLogit);  // mostly right
    }
    weights_ = make_filled(DType::fp32, {o.samples}, 2, 0, 2);
    valid_ = make_int32(static_cast<std::int32_t>(o.valid));
  }
  Outputs make_outputs(std::int64_t samples) {
    return {make(DType::fp32, {samples}), make_filled(DType::fp32, {1}, 4), make_filled(DType::fp32, {1}, 5),
            make_filled(DType::fp32, {1}, 6)};
  }
  SoftmaxCrossEntropyForward forward(const Options& o, const Outputs& out) {
    return {.logits = logits_,
            .labels = labels_,
            .sample_weights = o.weighted ? ConstTensorView(weights_) : ConstTensorView(),
            .valid_samples = valid_,
            .log_sum_exp = out.log_sum_exp,
            .loss = out.loss,
            .weight = out.weight,
            .correct = out.correct,
            .label_smoothing = o.label_smoothing,
            .accumulate = o.accumulate,
            .workspace = {}};
  }

  void expect_forward(const Options& o, const std::string& what) {
    make_batch(o);
    const Outputs fast = make_outputs(o.samples), oracle = make_outputs(o.samples);
    run_fast(forward(o, fast));
    run_oracle(forward(o, oracle));
    const double error = log_sum_error(o.classes);
    expect_rounded_once(
        fast.log_sum_exp, oracle.log_sum_exp, [=](auto) { return error; }, what + " log sum exp");
    // Smoothing adds a sum of K offsets of at most kRange, times 1 / K. Weights are at most 2.
    const double sample = error + o.label_smoothing * depth(o.classes) * kRange * kUnit;
    const double samples = 2 * static_cast<double>(o.samples);
    expect_rounded_once(
        fast.loss, oracle.loss, [=](auto) { return samples * sample; }, what + " loss");
    // Sums of FP32 numbers in FP64: exact, but for the final rounding.
    expect_rounded_once(
        fast.weight, oracle.weight, [](auto) { return 0.0; }, what + " weight");
    expect_rounded_once(
        fast.correct, oracle.correct, [](auto) { return 0.0; }, what + " correct");
  }

  void expect_backward(const Options& o, double loss_scale, const std::string& what) {
    make_batch(o);
    const Outputs given = make_outputs(o.samples);
    run_oracle(forward(o, given));
    const Tensor scale = make_filled(DType::fp32, {1}, 1, loss_scale, loss_scale);
    const Tensor found = make(o.dtype, {o.samples, o.classes}), wanted = make(DType::fp32, {o.samples, o.classes});
    SoftmaxCrossEntropyBackward args{.logits = logits_,
                                     .labels = labels_,
                                     .sample_weights = o.weighted ? ConstTensorView(weights_) : ConstTensorView(),
                                     .valid_samples = valid_,
                                     .log_sum_exp = given.log_sum_exp,
                                     .loss_scale = scale,
                                     .nominal_weight = 48,
                                     .label_smoothing = o.label_smoothing,
                                     .dlogits = found};
    run_fast(args);
    args.dlogits = wanted;
    run_oracle(args);
    // A softmax of at most 1: its exponent is rounded, at most kRange + log K wide, and its exponential; then target, difference,
    // factor (up to two roundoffs) and product. Weights are at most 2.
    const double factor = 2 * loss_scale / 48;
    const double error = factor * (kRange + std::log(static_cast<double>(o.classes)) + kExponential + 5) * kUnit;
    const std::int64_t valid_elements = o.valid * o.classes;
    expect_rounded_once(
        found, wanted, [=](std::int64_t i) { return i < valid_elements ? error : 0; }, what);
    for (std::int64_t i = valid_elements; i < found.elements(); ++i) ASSERT_EQ(value_at(found, i), 0) << what << ", padding";
  }

  /// Calls `check(options, description)` for all types and many shapes and options.
  template <class Check>
  void for_cases(const Check& check) {
    for (const DType dtype : kernel_case::kFloatingTypes) {
      for (const std::int64_t classes : {1, 3, 17, 64, 100, 5001}) {
        for (const double smoothing : {0.0, 0.1}) {
          const Options o{.dtype = dtype, .classes = classes, .label_smoothing = smoothing, .weighted = classes % 2 == 0};
          check(o,
                std::string(name(dtype)) + " of " + std::to_string(classes) + " classes, smoothing " + std::to_string(smoothing));
        }
      }
      check(Options{.dtype = dtype, .samples = 0, .valid = 0}, "no sample");
      check(Options{.dtype = dtype, .samples = 200, .weighted = true, .valid = 131, .accumulate = true}, "padded");
    }
  }

  Tensor logits_, labels_, weights_, valid_;
};

TEST_P(KernelLoss, ForwardIsWithinItsBound) {
  for_cases([&](const Options& o, const std::string& what) { expect_forward(o, what); });
}

TEST_P(KernelLoss, BackwardIsWithinItsBound) {
  for_cases([&](const Options& o, const std::string& what) { expect_backward(o, 1024, what); });
}

TEST_P(KernelLoss, BackwardOverflowsToInfinity) {
  const Options o{.dtype = DType::fp16};
  expect_backward(o, 0x1p24, "overflow");
}

TEST_P(KernelLoss, TheFirstOfEqualLogitsIsThePrediction) {
  const Options o{.samples = 2, .classes = 40, .valid = 2};
  make_batch(o);
  kernel_case::fill(logits_, 1, 2, 2);
  labels_.view().data<std::int32_t>()[0] = 0;
  labels_.view().data<std::int32_t>()[1] = 39;
  const Outputs out = make_outputs(2);
  run_fast(forward(o, out));
  EXPECT_EQ(value_at(out.correct, 0), 1);
}

TEST_P(KernelLoss, AMaskedClassHasNoProbability) {
  const Options o{.dtype = DType::fp16, .samples = 1, .classes = 33, .valid = 1};
  make_batch(o);
  for (const std::int64_t k : {0, 20, 32}) kernel_case::set_value(logits_, k, -INFINITY);
  const Outputs fast = make_outputs(1), oracle = make_outputs(1);
  run_fast(forward(o, fast));
  run_oracle(forward(o, oracle));
  expect_rounded_once(
      fast.loss, oracle.loss, [](auto) { return log_sum_error(33); }, "loss");
}

TEST_P(KernelLoss, NonFiniteLogitsShowInLossAndGradient) {
  for (const double bad : {double{NAN}, double{INFINITY}}) {
    for (const std::int64_t place : {0, 18, 39}) {
      const Options o{.dtype = DType::fp16, .samples = 2, .classes = 40, .valid = 2};
      make_batch(o);
      kernel_case::set_value(logits_, place, bad);
      const Outputs out = make_outputs(2);
      run_fast(forward(o, out));
      EXPECT_FALSE(std::isfinite(value_at(out.loss, 0)));
      EXPECT_LE(value_at(out.correct, 0), 1);
      const Tensor one = make_filled(DType::fp32, {1}, 1, 1, 1), dlogits = make(DType::fp16, {2, 40});
      run_fast(SoftmaxCrossEntropyBackward{.logits = logits_,
                                           .labels = labels_,
                                           .sample_weights = {},
                                           .valid_samples = {},
                                           .log_sum_exp = out.log_sum_exp,
                                           .loss_scale = one,
                                           .dlogits = dlogits});
      EXPECT_TRUE(std::isnan(value_at(dlogits, place)));
    }
  }
}

}  // namespace minim::loss_suite
