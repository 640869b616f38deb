#pragma once

#include <algorithm>
#include <vector>

#include "minim/runtime/kernels/layer_norm.h"
#include "runtime/kernel_case.h"

/// What every set of kernels for layer normalisation does.
namespace minim::layer_norm_suite {

using kernel_case::expect_rounded_once;
using kernel_case::kUnit;
using kernel_case::value_at;

/// One channel, less than a vector, whole vectors and a rest, and more than are summed in one go.
inline constexpr std::int64_t kChannelCounts[] = {1, 3, 17, 64, 100, 1031};

/// FP32 additions that a value passes in the sum of a row: CPU, up to 32 in a block, one for every block and 4 over lanes, on the
/// portable set of one lane 33 blocks of 32; GPU, 33 in a thread and 5 over a warp. As many over the rows of a block.
inline constexpr double kDepth = 70;

/// What the error bounds of a row need to know.
struct RowFacts {
  double largest = 0;  ///< magnitude of x
  double range = 0;    ///< of x: bounds every deviation
  double variance = 0;

  double mean_error() const { return (kDepth + 2) * kUnit * largest; }
  /// Of a deviation.
  double deviation_error() const { return mean_error() + kUnit * range; }
  /// Of a sum of squares; what the mean is off counts squared beside the roundings, since deviations sum to 0 otherwise.
  double variance_error() const {
    return (kDepth + 4) * kUnit * variance + 2 * kUnit * range * range + 2 * mean_error() * mean_error();
  }
  double rstd_error(double epsilon) const { return variance_error() / (2 * (variance + epsilon)) + 2 * kUnit; }  ///< relative
};

inline RowFacts facts_of(const ConstTensorView& x, std::int64_t row) {
  const std::int64_t channels = x.shape()[-1];
  double mean = 0, low = INFINITY, high = -INFINITY;
  RowFacts facts;
  for (std::int64_t c = 0; c < channels; ++c) {
    const double value = value_at(x, row * channels + c);
    mean += value / static_cast<double>(channels);
    low = std::min(low, value);
    high = std::max(high, value);
  }
  for (std::int64_t c = 0; c < channels; ++c) {
    facts.variance += std::pow(value_at(x, row * channels + c) - mean, 2) / static_cast<double>(channels);
  }
  facts.range = high - low;
  facts.largest = std::max(std::abs(low), std::abs(high));
  return facts;
}

/// Of every row.
inline std::vector<RowFacts> all_facts_of(const ConstTensorView& x) {
  std::vector<RowFacts> facts;
  for (std::int64_t row = 0; row * x.shape()[-1] < x.elements(); ++row) facts.push_back(facts_of(x, row));
  return facts;
}

class KernelLayerNorm : public kernel_case::KernelCase {
 protected:
  static constexpr double kEpsilon = 1e-3;

  struct Result {
    Tensor y, mean, rstd;
  };
  Result make_result(DType dtype, const Shape& shape) {
    const Shape rows{shape.elements() / shape[-1]};
    return {make(dtype, shape), make(DType::fp32, rows), make(DType::fp32, rows)};
  }
  static LayerNormForward forward(const Tensor& x, const Tensor& gamma, const Tensor& beta, const Result& to) {
    return {.x = x, .gamma = gamma, .beta = beta, .y = to.y, .mean = to.mean, .rstd = to.rstd, .epsilon = kEpsilon};
  }

  /// Calls `check(dtype, shape, x, what)`: around 0, and far from it, where a variance cancels easily.
  template <class Check>
  void for_cases(const Check& check) {
    for (const DType dtype : kernel_case::kFloatingTypes) {
      for (const std::int64_t channels : kChannelCounts) {
        for (const double offset : {0.0, 30.0}) {
          const Shape shape{3, 7, channels};
          const std::string what = std::string(name(dtype)) + " " + shape.to_string() + " at " + std::to_string(offset);
          check(dtype, shape, make_filled(dtype, shape, 1, offset - 1, offset + 1), what);
        }
      }
    }
  }
};

TEST_P(KernelLayerNorm, ForwardIsWithinItsBound) {
  for_cases([&](DType dtype, const Shape& shape, const Tensor& x, const std::string& what) {
    const std::int64_t channels = shape[-1];
    const Tensor gamma = make_filled(DType::fp32, {channels}, 2, -2, 2), beta = make_filled(DType::fp32, {channels}, 3);
    const Result found = make_result(dtype, shape), wanted = make_result(DType::fp32, shape);
    run_fast(forward(x, gamma, beta, found));
    run_oracle(forward(x, gamma, beta, wanted));
    const std::vector<RowFacts> facts = all_facts_of(x);
    const auto of = [&](std::int64_t row) { return facts[static_cast<std::size_t>(row)]; };
    expect_rounded_once(
        found.mean, wanted.mean, [&](auto row) { return of(row).mean_error(); }, what + " mean");
    expect_rounded_once(
        found.rstd, wanted.rstd, [&](auto row) { return of(row).rstd_error(kEpsilon) * value_at(wanted.rstd, row); },
        what + " rstd");
    const auto y_error = [&](std::int64_t i) {
      const RowFacts& row = of(i / channels);
      const double rstd = value_at(wanted.rstd, i / channels), scale = std::abs(value_at(gamma, i % channels));
      const double deviation = row.deviation_error() + row.range * (row.rstd_error(kEpsilon) + 3 * kUnit);
      return scale * rstd * deviation + 2 * kUnit * (std::abs(value_at(wanted.y, i)) + std::abs(value_at(beta, i % channels)));
    };
    expect_rounded_once(found.y, wanted.y, y_error, what + " y");
    run_fast(forward(x, gamma, beta, {x, found.mean, found.rstd}));
    kernel_case::expect_same(x, found.y, what + " in the place of x");
  });
}

TEST_P(KernelLayerNorm, InputGradientIsWithinItsBound) {
  for_cases([&](DType dtype, const Shape& shape, const Tensor& x, const std::string& what) {
    const std::int64_t channels = shape[-1];
    const Tensor gamma = make_filled(DType::fp32, {channels}, 2, -2, 2), beta = make_filled(DType::fp32, {channels}, 3);
    const Tensor dy = make_filled(dtype, shape, 4), dx = make(dtype, shape), wanted = make(DType::fp32, shape);
    const Result statistics = make_result(DType::fp32, shape);
    run_oracle(forward(x, gamma, beta, statistics));
    const auto args = [&](const Tensor& to) {
      return LayerNormBackwardData{.x = x, .dy = dy, .gamma = gamma, .mean = statistics.mean, .rstd = statistics.rstd, .dx = to};
    };
    run_fast(args(dx));
    run_oracle(args(wanted));
    // |g| <= 2 and n <= range * rstd: each mean is off by what its sum is, and two operations follow; a deviation from a given
    // mean is rounded relative to itself.
    const std::vector<RowFacts> facts = all_facts_of(x);
    const auto error = [&](std::int64_t i) {
      const double rstd = value_at(statistics.rstd, i / channels);
      const double normalized = facts[static_cast<std::size_t>(i / channels)].range * rstd;
      return rstd * 2 * (kDepth + 8) * kUnit * (1 + normalized * normalized) + 2 * kUnit * std::abs(value_at(wanted, i));
    };
    expect_rounded_once(dx, wanted, error, what + " dx");
    run_fast(LayerNormBackwardData{.x = x, .dy = dy, .gamma = gamma, .mean = statistics.mean, .rstd = statistics.rstd, .dx = dy});
    kernel_case::expect_same(dy, dx, what + " in the place of dy");
  });
}

TEST_P(KernelLayerNorm, ParameterGradientsAreSumsInFp32) {
  for (const bool accumulate : {false, true}) {
    for_cases([&](DType dtype, const Shape& shape, const Tensor& x, const std::string& what) {
      const Shape channels{shape[-1]};
      const Tensor gamma = make_filled(DType::fp32, channels, 2), dy = make_filled(dtype, shape, 4);
      const Result statistics = make_result(DType::fp32, shape);
      run_oracle(forward(x, gamma, gamma, statistics));
      const auto run_args = [&](const auto& run, const Tensor& dgamma, const Tensor& dbeta) {
        run(LayerNormBackwardWeights{.x = x,
                                     .dy = dy,
                                     .mean = statistics.mean,
                                     .rstd = statistics.rstd,
                                     .dgamma = dgamma,
                                     .dbeta = dbeta,
                                     .accumulate = accumulate,
                                     .workspace = {}});
      };
      const auto make_old = [&] { return make_filled(DType::fp32, channels, 5); };
      const Tensor dgamma = make_old(), dbeta = make_old(), wanted_dgamma = make_old(), wanted_dbeta = make_old();
      run_args([&](const auto& args) { run_fast(args); }, dgamma, dbeta);
      run_args([&](const auto& args) { run_oracle(args); }, wanted_dgamma, wanted_dbeta);
      double largest = 0;  // of n
      const std::vector<RowFacts> facts = all_facts_of(x);
      for (std::size_t row = 0; row < facts.size(); ++row) {
        largest = std::max(largest, facts[row].range * value_at(statistics.rstd, static_cast<std::int64_t>(row)));
      }
      const double error = (kDepth + 4) * kUnit * (static_cast<double>(facts.size()) + 1);
      expect_rounded_once(
          dgamma, wanted_dgamma, [&](auto) { return error * (largest + 1); }, what + " dgamma");
      expect_rounded_once(
          dbeta, wanted_dbeta, [&](auto) { return error; }, what + " dbeta");
    });
  }
}

TEST_P(KernelLayerNorm, ParameterGradientsOfManyRowsAreWithinTheirBound) {
  const Shape shape{2, 517, 24};
  const Tensor x = make_filled(DType::fp16, shape, 1), dy = make_filled(DType::fp16, shape, 2);
  const Result statistics = make_result(DType::fp32, shape);
  const Tensor gamma = make_filled(DType::fp32, {24}, 3);
  run_oracle(forward(x, gamma, gamma, statistics));
  const Tensor found[] = {make(DType::fp32, {24}), make(DType::fp32, {24})};
  const Tensor wanted[] = {make(DType::fp32, {24}), make(DType::fp32, {24})};
  const auto args = [&](const Tensor& dgamma, const Tensor& dbeta) {
    return LayerNormBackwardWeights{
        .x = x, .dy = dy, .mean = statistics.mean, .rstd = statistics.rstd, .dgamma = dgamma, .dbeta = dbeta, .workspace = {}};
  };
  run_fast(args(found[0], found[1]));
  run_oracle(args(wanted[0], wanted[1]));
  for (int i = 0; i < 2; ++i) {
    expect_rounded_once(
        found[i], wanted[i], [](auto) { return kDepth * kUnit * 1034 * 4; }, i == 0 ? "dgamma" : "dbeta");
  }
}

TEST_P(KernelLayerNorm, OfNoRowsLeavesNoGradient) {
  const Tensor x = make(DType::fp16, {0, 4, 8}), rows = make(DType::fp32, {0}), gamma = make_filled(DType::fp32, {8}, 1);
  const Tensor dgamma = make_filled(DType::fp32, {8}, 2), dbeta = make_filled(DType::fp32, {8}, 3);
  run_fast(LayerNormForward{.x = x, .gamma = gamma, .beta = gamma, .y = x, .mean = rows, .rstd = rows});
  run_fast(LayerNormBackwardData{.x = x, .dy = x, .gamma = gamma, .mean = rows, .rstd = rows, .dx = x});
  run_fast(
      LayerNormBackwardWeights{.x = x, .dy = x, .mean = rows, .rstd = rows, .dgamma = dgamma, .dbeta = dbeta, .workspace = {}});
  for (std::int64_t c = 0; c < 8; ++c) {
    EXPECT_EQ(value_at(dgamma, c), 0);
    EXPECT_EQ(value_at(dbeta, c), 0);
  }
}

TEST_P(KernelLayerNorm, ANaNStaysInItsRow) {
  const Tensor x = make_filled(DType::fp16, {3, 20}, 1), gamma = make_filled(DType::fp32, {20}, 2, 1, 2);
  kernel_case::set_value(x, 25, NAN);
  const Result found = make_result(DType::fp16, x.shape());
  run_fast(forward(x, gamma, gamma, found));
  for (std::int64_t i = 0; i < 60; ++i) EXPECT_EQ(std::isnan(value_at(found.y, i)), i / 20 == 1) << i;
}

}  // namespace minim::layer_norm_suite
