#include <gtest/gtest.h>

#include <cmath>

#include "minim/model/operations.h"
#include "model/operation_cases.h"

namespace minim::test {
namespace {

// Five-point differences: f' = (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h + h^4/30 f'''''.
constexpr double kStep = 0x1p-5;
// Of the fifth derivative's term with |f'''''| < 10^4; normalisation and softmax of numbers in [-1, 1) stay far below.
constexpr double kTruncation = kStep * kStep * kStep * kStep / 30 * 1e4;
// Where there are kinks: parameters differ by 2^-7 or are a kink away from it by 2^-8, so 2h = 2^-9 crosses none.
// Where activated sums are, no sum of these numbers is as close to 0 as a step moves it.
constexpr double kKinkedStep = 0x1p-10;
// Each of the four values is the FP64 sum of FP32 results, each rounded a few times (by kernels that sum in FP64: once on store
// and once for a saved statistic); the weights of the four add up to 18 / 12h.
constexpr double kRoundings = 3 * 0x1p-24;
// Relative error of the gradient under test itself: FP64 sums, rounded to FP32 a few times.
constexpr double kGradientError = 8 * 0x1p-24;

template <class F>
double difference(float& x, double h, F f) {
  const float x0 = x;
  const auto at = [&](double offset) {
    x = static_cast<float>(x0 + offset);
    return f();
  };
  const double inner = at(h) - at(-h), outer = at(2 * h) - at(-2 * h);
  x = x0;
  return (8 * inner - outer) / (12 * h);
}

class OperationGradient : public testing::TestWithParam<OperationCase> {
 protected:
  OperationGradient() : backend_(make_reference_backend()) { add_test_kernels(*backend_); }
  std::unique_ptr<Backend> backend_;
};

TEST_P(OperationGradient, EqualsFiniteDifferences) {
  RunningCase running(GetParam(), *backend_, Precision::fp32);
  if (GetParam().kinked) {
    // Distinct everywhere and never on the kink at 0.
    const std::span<float> x = running.model().parameters().front()->weight.span<float>();
    const auto n = static_cast<std::int64_t>(x.size());
    for (std::int64_t i = 0; i < n; ++i) {
      x[static_cast<std::size_t>(i)] = static_cast<float>(i * 37 % n - n / 2) * 0x1p-7F + 0x1p-8F;
    }
  }
  running.step();
  const double h = GetParam().kinked ? kKinkedStep : kStep;
  const double magnitude = running.forward().magnitude;
  // Kinked operations copy values, or sum products of so few bits that FP32 holds them: nothing is rounded.
  const double tolerance = GetParam().kinked ? 0 : kTruncation + kRoundings * magnitude * 18 / (12 * h);
  for (const auto& p : running.model().parameters()) {
    const std::vector<float> gradient = floats(p->gradient);
    const std::span<float> weight = p->weight.span<float>();
    for (std::size_t i = 0; i < weight.size(); ++i) {
      const double wanted = difference(weight[i], h, [&] { return running.forward().value; });
      ASSERT_NEAR(gradient[i], wanted, tolerance + kGradientError * std::abs(wanted)) << p->name << " element " << i;
    }
  }
}

TEST_P(OperationGradient, OfAnEmptyBatchIsZero) {
  OperationCase empty = GetParam();
  empty.batch = 0;
  RunningCase running(empty, *backend_, Precision::fp32);
  running.step();
  for (const auto& p : running.model().parameters()) {
    for (const float g : floats(p->gradient)) ASSERT_EQ(g, 0) << p->name;
  }
}

INSTANTIATE_TEST_SUITE_P(All, OperationGradient, testing::ValuesIn(operation_cases()),
                         [](const auto& instance) { return instance.param.name; });

/// Softmax cross-entropy is a loss itself: it stands on a source alone.
class LossGradient : public testing::Test {
 protected:
  static constexpr std::int64_t kSamples = 5, kClasses = 4;

  LossGradient() : graph_(model_, Graph::Mode::training), backend_(make_reference_backend()) { add_test_kernels(*backend_); }

  void build(LossOptions options) {
    const Value logits = source(graph_, "logits", Shape{Shape::kBatch, kClasses}, kSamples);
    const Value labels = graph_.input("labels", ElementType::int32, Shape{Shape::kBatch});
    const Value weights = graph_.input("weights", ElementType::fp32, Shape{Shape::kBatch});
    const LossValues sums = graph_.softmax_cross_entropy("loss", logits, labels, options, weights);
    graph_.output("loss", sums.loss);
    graph_.output("weight", sums.weight);
    graph_.output("correct", sums.correct);
    memory_ = std::make_unique<ParameterMemory>(model_, *backend_, Precision::fp32);
    bound_ = std::make_unique<BoundPlan>(graph_, *backend_, *memory_,
                                         CompileOptions{.precision = Precision::fp32, .batch = kSamples, .nominal_weight = 4});
    bound_->set("labels", std::vector<float>{3, 0, 1, 1, 2});
    bound_->set("weights", std::vector<float>{1, 0.5F, 0, 2, 1});
    assign(logits_parameter().weight, numbers(kSamples * kClasses, 3));
  }

  void expect_finite_differences(double weight = 1) {
    constexpr float kScale = 1024;
    constexpr double kNominalWeight = 4;
    memory_->set_loss_scale(kScale);
    bound_->step();
    const std::vector<float> gradient = floats(logits_parameter().gradient);
    const std::span<float> x = logits_parameter().weight.span<float>();
    // The loss is one FP32 number, rounded once.
    const double tolerance = kTruncation + 0x1p-24 * bound_->get("loss")[0] * 18 / (12 * kStep);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double wanted = difference(x[i], kStep, [&] {
        bound_->forward();
        return static_cast<double>(bound_->get("loss")[0]);
      });
      ASSERT_NEAR(gradient[i] / kScale * kNominalWeight, weight * wanted, tolerance) << "element " << i;
    }
  }

  Parameter& logits_parameter() { return *model_.parameters().front(); }

  Model model_;
  Graph graph_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<ParameterMemory> memory_;
  std::unique_ptr<BoundPlan> bound_;
};

TEST_F(LossGradient, EqualsFiniteDifferencesOverNominalWeightTimesScale) {
  build({});
  expect_finite_differences();
}

TEST_F(LossGradient, EqualsFiniteDifferencesWithSmoothedLabels) {
  build({.label_smoothing = 0.2});
  expect_finite_differences();
}

TEST_F(LossGradient, IsMultipliedByTheWeightOfTheLoss) {
  build({.weight = 0.3});
  expect_finite_differences(0.3);
}

TEST_F(LossGradient, SumsWeightsOfAllSamples) {
  build({});
  bound_->forward();
  EXPECT_EQ(bound_->get("weight")[0], 4.5F);
}

}  // namespace
}  // namespace minim::test
