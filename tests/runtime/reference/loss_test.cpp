#include "minim/runtime/kernels/loss.h"

#include "runtime/reference/reference_case.h"

namespace minim {
namespace {

using Floats = std::vector<float>;

class ReferenceLoss : public ReferenceCase {
 protected:
  struct Results {
    double loss, weight, correct;
  };

  SoftmaxCrossEntropyForward arguments(const Tensor& logits, const std::vector<std::int32_t>& labels) {
    logits_ = logits;  // what the views borrow stays alive
    labels_ = integers<std::int32_t>(labels);
    log_sum_exp_ = untouched({logits.shape()[0]});
    return {
        .logits = logits, .labels = labels_, .log_sum_exp = log_sum_exp_, .loss = loss_, .weight = weight_, .correct = correct_};
  }
  Results forward(const SoftmaxCrossEntropyForward& args) {
    run(args);
    return {loss_.span<float>()[0], weight_.span<float>()[0], correct_.span<float>()[0]};
  }

  Tensor logits_, labels_, log_sum_exp_;
  Tensor loss_ = untouched({1}), weight_ = untouched({1}), correct_ = untouched({1});
};

TEST_F(ReferenceLoss, IsTheLogarithmOfTheNumberOfClassesForEqualLogits) {
  const Results found = forward(arguments(tensor({2, 4}, Floats(8, 3)), {0, 2}));
  EXPECT_FLOAT_EQ(static_cast<float>(found.loss), static_cast<float>(2 * std::log(4.0)));
  EXPECT_EQ(found.weight, 2);
  EXPECT_EQ(found.correct, 1) << "the first of equal logits counts as the largest";
  EXPECT_FLOAT_EQ(log_sum_exp_.span<float>()[1], static_cast<float>(3 + std::log(4.0)));
}

TEST_F(ReferenceLoss, SurvivesLogitsWhoseExponentialsOverflow) {
  const Results found = forward(arguments(tensor({1, 2}, {1000, 998}), {1}));
  EXPECT_FLOAT_EQ(static_cast<float>(found.loss), static_cast<float>(2 + std::log1p(std::exp(-2.0))));
}

TEST_F(ReferenceLoss, CountsNoSampleWithNaNAsCorrect) {
  const Results found = forward(arguments(tensor({2, 2}, {NAN, 1, 1, NAN}), {0, 0}));
  EXPECT_TRUE(std::isnan(found.loss));
  EXPECT_EQ(found.correct, 0);
}

TEST_F(ReferenceLoss, SmoothsTheTarget) {
  auto args = arguments(tensor({1, 2}, {1, 0}), {0});
  args.label_smoothing = 0.5;  // targets 0.75 and 0.25
  const double wanted = std::log(std::exp(1.0) + 1) - 0.75;
  EXPECT_FLOAT_EQ(static_cast<float>(forward(args).loss), static_cast<float>(wanted));
}

TEST_F(ReferenceLoss, WeighsSamplesAndIgnoresPadding) {
  auto args = arguments(tensor({3, 2}, {5, 5, 8, 7, NAN, NAN}), {0, 0, -1});
  const Tensor weights = tensor({3}, {0.5F, 2, NAN}), valid_samples = integers<std::int32_t>({2});
  args.sample_weights = weights;
  args.valid_samples = valid_samples;
  const Results found = forward(args);
  EXPECT_FLOAT_EQ(static_cast<float>(found.loss), static_cast<float>(0.5 * std::log(2.0) + 2 * std::log1p(std::exp(-1.0))));
  EXPECT_EQ(found.weight, 2.5);
  EXPECT_EQ(found.correct, 2.5);
  EXPECT_EQ(log_sum_exp_.span<float>()[2], 0);
}

TEST_F(ReferenceLoss, AddsToWhatMicroBatchesBeforeItLeft) {
  auto args = arguments(tensor({1, 2}, {0, 0}), {0});
  forward(args);
  args.accumulate = true;
  const Results found = forward(args);
  EXPECT_FLOAT_EQ(static_cast<float>(found.loss), static_cast<float>(2 * std::log(2.0)));
  EXPECT_EQ(found.weight, 2);
  EXPECT_EQ(found.correct, 2);
}

TEST_F(ReferenceLoss, IsZeroWithoutSamples) {
  const Results found = forward(arguments(untouched({0, 2}), {}));
  EXPECT_EQ(found.loss, 0);
  EXPECT_EQ(found.weight, 0);
  EXPECT_EQ(found.correct, 0);
}

TEST_F(ReferenceLoss, NamesTheSampleWhoseLabelIsNone) {
  for (const std::int32_t label : {-1, 3}) {
    try {
      forward(arguments(tensor({2, 3}, Floats(6, 0)), {1, label}));
      FAIL() << "label " << label << " was taken for one of three classes";
    } catch (const DataError& error) {
      EXPECT_EQ(error.what(), "sample 1 of the batch has label " + std::to_string(label) + ": 0 to 2 is wanted");
    }
    EXPECT_TRUE(std::isnan(loss_.span<float>()[0])) << "nothing was written";
    stream_ = backend_->make_stream("test");
  }
}

TEST_F(ReferenceLoss, HasTheGradientThatDifferencesShow) {
  const Tensor logits = random({4, 5}, 1), weights = tensor({4}, {1, 0.5F, 2, 1}), valid_samples = integers<std::int32_t>({3});
  const Tensor loss_scale = tensor({1}, {8}), dlogits = untouched({4, 5});
  auto args = arguments(logits, {0, 4, 2, 1});
  args.sample_weights = weights;
  args.valid_samples = valid_samples;
  args.label_smoothing = 0.1;
  const auto loss = [&] { return forward(args).loss * 8 / 4; };
  loss();
  run(SoftmaxCrossEntropyBackward{.logits = logits,
                                  .labels = labels_,
                                  .sample_weights = weights,
                                  .valid_samples = valid_samples,
                                  .log_sum_exp = log_sum_exp_,
                                  .loss_scale = loss_scale,
                                  .nominal_weight = 4,
                                  .label_smoothing = 0.1,
                                  .dlogits = dlogits});
  expect_gradient(logits, dlogits, loss);
}

TEST_F(ReferenceLoss, ScalesBeforeItRounds) {
  // Two classes, a difference of 20: the wrong class has a probability of 2e-9, which FP16 cannot hold but 2^15 times that it
  // can.
  const Tensor logits = tensor({1, 2}, {20, 0}, DType::fp16), loss_scale = tensor({1}, {32768}),
               dlogits = untouched({1, 2}, DType::fp16);
  forward(arguments(logits, {0}));
  run(SoftmaxCrossEntropyBackward{
      .logits = logits, .labels = labels_, .log_sum_exp = log_sum_exp_, .loss_scale = loss_scale, .dlogits = dlogits});
  const auto wanted = static_cast<float>(32768 * std::exp(-20.0));  // a subnormal: exact to half of its step of 2^-24
  EXPECT_NEAR(values(dlogits)[1], wanted, kHalfMinSubnormal / 2);
  EXPECT_GT(values(dlogits)[1], 0);
}

}  // namespace
}  // namespace minim
