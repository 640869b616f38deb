#pragma once

#include <algorithm>
#include <array>

#include "minim/runtime/kernels/batch_norm.h"
#include "minim/runtime/kernels/elementwise.h"
#include "runtime/kernel_case.h"

/// What every set of kernels for batch normalisation does.
namespace minim::batch_norm_suite {

using kernel_case::expect_rounded_once;
using kernel_case::kUnit;
using kernel_case::value_at;

/// FP32 additions that a value passes within a block of rows. CPU, 256 rows: 4 in its group of 8 rows, 1 for the group, 32 for
/// the block's groups, 3 in forming the block's result. GPU: 4 in a thread (more only from 4096 rows on), 8 at most over threads,
/// 3 in forming the result. Blocks are added in FP64.
inline constexpr double kBlockDepth = 40;

/// What the error bounds of one channel need to know.
struct ChannelFacts {
  double mean = 0;
  double variance = 0;
  double range = 0;    ///< largest minus smallest: bounds every deviation
  double largest = 0;  ///< magnitude

  /// Sums of deviations, and two roundings of a mean.
  double mean_error() const { return kBlockDepth * kUnit * range + 2 * kUnit * largest; }
  /// Sum of squares and its correction by the block's mean: 3 times the depth at a range^2 each, rounded up to 130; deviations of
  /// the blocks' means count twice what a mean is off.
  double variance_error() const { return 130 * kUnit * range * range + 2 * range * mean_error(); }
  /// Relative.
  double rstd_error(double epsilon) const { return variance_error() / (2 * (variance + epsilon)) + 2 * kUnit; }
};

inline ChannelFacts facts_of(const ConstTensorView& x, std::int64_t c, std::int64_t rows) {
  const std::int64_t channels = x.shape()[-1];
  const auto at = [&](std::int64_t row) { return value_at(x, row * channels + c); };
  ChannelFacts facts;
  double low = at(0), high = at(0);
  for (std::int64_t row = 0; row < rows; ++row) {
    facts.mean += at(row) / static_cast<double>(rows);
    low = std::min(low, at(row));
    high = std::max(high, at(row));
  }
  for (std::int64_t row = 0; row < rows; ++row) facts.variance += std::pow(at(row) - facts.mean, 2) / static_cast<double>(rows);
  facts.range = high - low;
  facts.largest = std::max(std::abs(low), std::abs(high));
  return facts;
}

inline std::string describe(DType dtype, const Shape& shape) { return std::string(name(dtype)) + " " + shape.to_string(); }

/// What forward does beside normalising.
struct Ending {
  bool adds = false;
  Activation activation = Activation::none;
};

/// Where the samples of some ranks lie among those of all.
struct RankPart {
  std::int64_t first = 0, valid = 0;
};
/// Of 9 samples. A rank has room for 5.
inline constexpr std::array kRankParts{RankPart{0, 3}, RankPart{3, 0}, RankPart{3, 5}, RankPart{8, 1}};
inline constexpr std::int64_t kRankBatch = 5;

/// Elements of sample `sample` of `from`, from there on, where sample `to_sample` of `to` is.
inline void copy_samples(const ConstTensorView& from, std::int64_t sample, const TensorView& to, std::int64_t to_sample,
                         std::int64_t samples) {
  const std::int64_t elements = from.shape().elements_per_sample();
  for (std::int64_t i = 0; i < samples * elements; ++i) {
    kernel_case::set_value(to, to_sample * elements + i, value_at(from, sample * elements + i));
  }
}

class KernelBatchNorm : public kernel_case::KernelCase {
 protected:
  struct Forward {
    Tensor y, mean, rstd, running_mean, running_variance;
  };

  Forward make_forward(DType dtype, const Shape& shape) {
    const Shape channels{shape[-1]};
    return {make(dtype, shape), make(DType::fp32, channels), make(DType::fp32, channels), make_filled(DType::fp32, channels, 5),
            make_filled(DType::fp32, channels, 6, 0.5, 2)};
  }
  BatchNormForward arguments(const Tensor& x, const Forward& out, const ConstTensorView& valid_samples,
                             const Ending& ending = {}) {
    const Shape channels{x.shape()[-1]};
    gamma_ = make_filled(DType::fp32, channels, 2, -2, 2);
    beta_ = make_filled(DType::fp32, channels, 3, -1, 1);
    addend_ = make_filled(x.dtype(), x.shape(), 9, -3, 3);
    return {.x = x,
            .gamma = gamma_,
            .beta = beta_,
            .addend = ending.adds ? ConstTensorView(addend_) : ConstTensorView(),
            .y = out.y,
            .mean = out.mean,
            .rstd = out.rstd,
            .running_mean = out.running_mean,
            .running_variance = out.running_variance,
            .activation = ending.activation,
            .valid_samples = valid_samples,
            .workspace = {}};
  }

  /// Compares a forward pass over `x`, of which `valid` samples count, with the oracle's.
  void expect_forward(const Tensor& x, std::int64_t valid, const ConstTensorView& valid_samples, const Ending& ending = {}) {
    const Forward fast = make_forward(x.dtype(), x.shape());
    run_fast(arguments(x, fast, valid_samples, ending));
    expect_like_oracle(x, fast, valid, valid_samples, ending);
  }

  void expect_like_oracle(const Tensor& x, const Forward& fast, std::int64_t valid, const ConstTensorView& valid_samples,
                          const Ending& ending) {
    const std::string what = describe(x.dtype(), x.shape()) + (ending.adds ? " with addend" : "") +
                             (ending.activation == Activation::relu ? " with ReLU" : "");
    const std::int64_t channels = x.shape()[-1];
    const Forward oracle = make_forward(DType::fp32, x.shape());
    const BatchNormForward args = arguments(x, oracle, valid_samples, ending);
    run_oracle(args);
    if (channels == 0 || valid == 0) return;

    const std::int64_t rows = x.elements() / channels / x.shape()[0] * valid;
    std::vector<ChannelFacts> facts;
    for (std::int64_t c = 0; c < channels; ++c) facts.push_back(facts_of(x, c, rows));
    const auto of = [&](std::int64_t i) -> const ChannelFacts& { return facts[static_cast<std::size_t>(i % channels)]; };
    expect_rounded_once(
        fast.mean, oracle.mean, [&](auto c) { return of(c).mean_error(); }, what + " mean");
    expect_rounded_once(
        fast.rstd, oracle.rstd, [&](auto c) { return value_at(oracle.rstd, c) * of(c).rstd_error(args.epsilon); },
        what + " rstd");
    expect_rounded_once(
        fast.running_mean, oracle.running_mean, [&](auto c) { return args.momentum * of(c).mean_error(); },
        what + " running mean");
    const double unbiased = static_cast<double>(rows) / static_cast<double>(std::max<std::int64_t>(rows - 1, 1));
    expect_rounded_once(
        fast.running_variance, oracle.running_variance, [&](auto c) { return args.momentum * unbiased * of(c).variance_error(); },
        what + " running variance");
    const auto y_error = [&](std::int64_t i) {
      const ChannelFacts& f = of(i);
      const double scale = std::abs(value_at(gamma_, i % channels)) * value_at(oracle.rstd, i % channels);
      // The mean, the subtraction, gamma rstd with its rounding, the fused multiply-add (unfused on the portable set); the
      // addend.
      const double added = ending.adds ? kUnit * (std::abs(value_at(addend_, i)) + std::abs(value_at(oracle.y, i))) : 0;
      return scale * (f.mean_error() + f.range * (3 * kUnit + f.rstd_error(args.epsilon))) +
             kUnit * std::abs(value_at(oracle.y, i)) + added;
    };
    expect_rounded_once(fast.y, oracle.y, y_error, what + " y");
  }

  /// Normalises 9 samples that several ranks have, and compares what the ranks make of them with the oracle's of all at once.
  void expect_forward_of_ranks(DType dtype, const Shape& image, const Ending& ending) {
    const auto batch_of = [&](std::int64_t samples) { return Shape{samples, image[0], image[1], image[2]}; };
    const std::int64_t channels = image[2];
    const Tensor x = make_filled(dtype, batch_of(9), 1);
    const Forward together = make_forward(dtype, x.shape());
    const BatchNormForward whole = arguments(x, together, {}, ending);
    const auto ranks = static_cast<std::int64_t>(kRankParts.size());
    const Tensor moments = make(DType::fp32, {ranks, 2 * channels + 1});
    std::vector<Tensor> inputs, counts;
    for (std::int64_t rank = 0; rank < ranks; ++rank) {
      const RankPart& part = kRankParts[static_cast<std::size_t>(rank)];
      inputs.push_back(make_filled(dtype, batch_of(kRankBatch), 30));
      copy_samples(x, part.first, inputs.back(), 0, part.valid);
      counts.push_back(make_int32(static_cast<std::int32_t>(part.valid)));
      const std::int64_t width = 2 * channels + 1;
      run_fast(BatchNormMoments{.x = inputs.back(),
                                .valid_samples = counts.back(),
                                .moments = moments.view().slice(rank * width, (rank + 1) * width),
                                .workspace = {}});
    }
    for (std::int64_t rank = 0; rank < ranks; ++rank) {
      const RankPart& part = kRankParts[static_cast<std::size_t>(rank)];
      const auto index = static_cast<std::size_t>(rank);
      const Forward own = make_forward(dtype, inputs[index].shape());
      const Tensor addend = make(dtype, inputs[index].shape());
      if (ending.adds) copy_samples(addend_, part.first, addend, 0, part.valid);
      BatchNormForward args = whole;
      args.x = inputs[index];
      if (ending.adds) args.addend = addend;
      args.y = own.y;
      args.mean = own.mean;
      args.rstd = own.rstd;
      args.running_mean = own.running_mean;
      args.running_variance = own.running_variance;
      args.valid_samples = counts[index];
      args.moments = moments;
      run_fast(args);
      copy_samples(own.y, 0, together.y, part.first, part.valid);
      const std::int64_t elements = own.y.shape().elements_per_sample();
      for (std::int64_t i = part.valid * elements; i < kRankBatch * elements; ++i) ASSERT_EQ(value_at(own.y, i), 0);
      if (rank == 0) {
        copy_samples(own.mean, 0, together.mean, 0, channels);
        copy_samples(own.rstd, 0, together.rstd, 0, channels);
        copy_samples(own.running_mean, 0, together.running_mean, 0, channels);
        copy_samples(own.running_variance, 0, together.running_variance, 0, channels);
      }
      kernel_case::expect_same(own.mean, together.mean, "mean of rank " + std::to_string(rank));
      kernel_case::expect_same(own.rstd, together.rstd, "rstd of rank " + std::to_string(rank));
      kernel_case::expect_same(own.running_variance, together.running_variance, "variance of rank " + std::to_string(rank));
    }
    expect_like_oracle(x, together, 9, {}, ending);
  }

  Tensor gamma_, beta_, addend_;
};

TEST_P(KernelBatchNorm, ForwardIsWithinItsBoundForEveryTypeAndChannelCount) {
  for (const DType dtype : kernel_case::kFloatingTypes) {
    for (const std::int64_t channels : kernel_case::kChannelCounts) {
      expect_forward(make_filled(dtype, {5, 7, 11, channels}, 1), 5, {});  // 385 rows: two blocks, the second not whole groups
    }
  }
}

TEST_P(KernelBatchNorm, ForwardIsWithinItsBoundOverManyBlocksOfRows) {
  expect_forward(make_filled(DType::fp16, {2, 35, 31, 130}, 1), 2, {});
}

TEST_P(KernelBatchNorm, ForwardAddsAndActivatesBeforeItRounds) {
  for (const DType dtype : kernel_case::kFloatingTypes) {
    for (const std::int64_t channels : kernel_case::kChannelCounts) {
      const Tensor x = make_filled(dtype, {5, 7, 11, channels}, 1), three = make_int32(3);
      expect_forward(x, 3, three, {.adds = true});
      expect_forward(x, 3, three, {.activation = Activation::relu});
      expect_forward(x, 3, three, {.adds = true, .activation = Activation::relu});
    }
  }
}

TEST_P(KernelBatchNorm, ForwardOfOneRowAndOfNoSampleWorks) {
  for (const DType dtype : kernel_case::kFloatingTypes) {
    expect_forward(make_filled(dtype, {1, 1, 1, 17}, 1), 1, {});
    expect_forward(make(dtype, {0, 4, 4, 17}), 0, {});
  }
}

TEST_P(KernelBatchNorm, VarianceSurvivesAMeanFarFromZero) {
  // E[x^2] - E[x]^2 in FP32 would be off by 2^-24 * 10^8 = 6 here, where the variance is 1/3.
  expect_forward(make_filled(DType::fp32, {3, 8, 8, 20}, 1, 9999, 10001), 3, {});
}

TEST_P(KernelBatchNorm, VarianceSurvivesAnOutlierInTheFirstRow) {
  const Tensor x = make_filled(DType::fp32, {4, 8, 8, 20}, 1);
  for (std::int64_t c = 0; c < 20; ++c) x.view().data<float>()[c] = 1000;
  expect_forward(x, 4, {});
}

TEST_P(KernelBatchNorm, EqualValuesHaveNoVariance) {
  const Tensor x = make_filled(DType::fp16, {2, 8, 8, 33}, 1, 0.3, 0.3);
  const Forward fast = make_forward(DType::fp16, x.shape());
  run_fast(arguments(x, fast, {}));
  for (std::int64_t c = 0; c < 33; ++c) {
    EXPECT_EQ(fast.mean.view().data<float>()[c], to_float(to_half(0.3F)));
    EXPECT_EQ(fast.rstd.view().data<float>()[c], static_cast<float>(1 / std::sqrt(1e-5)));
  }
}

TEST_P(KernelBatchNorm, ForwardIgnoresAndClearsPaddingSamples) {
  for (const DType dtype : kernel_case::kFloatingTypes) {
    const Tensor x = make_filled(dtype, {4, 3, 3, 17}, 1);
    const std::int64_t per_sample = 3 * 3 * 17;
    for (std::int64_t i = 3 * per_sample; i < 4 * per_sample; ++i) kernel_case::set_value(x, i, NAN);
    const Tensor three = make_int32(3);
    expect_forward(x, 3, three);

    const Forward fast = make_forward(dtype, x.shape());
    run_fast(arguments(x, fast, three));
    for (std::int64_t i = 3 * per_sample; i < 4 * per_sample; ++i) ASSERT_EQ(value_at(fast.y, i), 0);
  }
}

TEST_P(KernelBatchNorm, WithoutValidSamplesOnlyClearsTheOutput) {
  const Tensor x = make_filled(DType::fp16, {2, 2, 2, 5}, 1);
  const Forward fast = make_forward(DType::fp16, x.shape());
  kernel_case::fill(fast.mean, 8, 1, 2);
  const Forward before = make_forward(DType::fp16, x.shape());
  kernel_case::fill(before.mean, 8, 1, 2);
  run_fast(arguments(x, fast, make_int32(0)));
  for (std::int64_t i = 0; i < x.elements(); ++i) EXPECT_EQ(value_at(fast.y, i), 0);
  kernel_case::expect_same(fast.mean, before.mean, "mean");
  kernel_case::expect_same(fast.running_mean, before.running_mean, "running mean");
  kernel_case::expect_same(fast.running_variance, before.running_variance, "running variance");
}

TEST_P(KernelBatchNorm, ANonFiniteInputSpoilsItsChannelAlone) {
  for (const double bad : {double{NAN}, double{INFINITY}}) {
    for (const Activation activation : {Activation::none, Activation::relu}) {
      const Tensor x = make_filled(DType::fp16, {2, 5, 5, 18}, 1);
      kernel_case::set_value(x, 20 * 18 + 17, bad);
      const Forward fast = make_forward(DType::fp16, x.shape());
      run_fast(arguments(x, fast, {}, {.activation = activation}));
      for (std::int64_t i = 0; i < x.elements(); ++i) ASSERT_EQ(std::isfinite(value_at(fast.y, i)), i % 18 != 17) << i;
      EXPECT_FALSE(std::isfinite(fast.running_variance.view().data<float>()[17]));
    }
  }
}

TEST_P(KernelBatchNorm, ForwardOfRanksTogetherIsWithinTheBoundOfOne) {
  for (const DType dtype : kernel_case::kFloatingTypes) {
    for (const std::int64_t channels : kernel_case::kChannelCounts) {
      expect_forward_of_ranks(dtype, {7, 11, channels}, {});
    }
    expect_forward_of_ranks(dtype, {7, 11, 17}, {.adds = true, .activation = Activation::relu});
  }
}

TEST_P(KernelBatchNorm, RanksWithoutAnySampleOnlyClearTheOutput) {
  const Tensor x = make_filled(DType::fp16, {2, 2, 2, 5}, 1), moments = make_filled(DType::fp32, {2, 11}, 2),
               none = make_int32(0);
  for (const std::int64_t rank : {0, 1}) {
    run_fast(BatchNormMoments{
        .x = x, .valid_samples = none, .moments = moments.view().slice(rank * 11, (rank + 1) * 11), .workspace = {}});
  }
  const Forward fast = make_forward(DType::fp16, x.shape()), before = make_forward(DType::fp16, x.shape());
  BatchNormForward args = arguments(x, fast, none);
  args.moments = moments;
  run_fast(args);
  for (std::int64_t i = 0; i < x.elements(); ++i) EXPECT_EQ(value_at(fast.y, i), 0);
  kernel_case::expect_same(fast.running_mean, before.running_mean, "running mean");
  kernel_case::expect_same(fast.running_variance, before.running_variance, "running variance");
}

TEST_P(KernelBatchNorm, InferenceIsWithinItsBoundForEveryTypeAndChannelCount) {
  for (const DType dtype : kernel_case::kFloatingTypes) {
    for (const std::int64_t channels : {0, 1, 3, 17, 64, 100, 513}) {
      const Shape shape{3, 4, 5, channels};
      const Tensor x = make_filled(dtype, shape, 1);
      const Tensor gamma = make_filled(DType::fp32, {channels}, 2, -2, 2);
      const Tensor beta = make_filled(DType::fp32, {channels}, 3);
      const Tensor mean = make_filled(DType::fp32, {channels}, 4);
      const Tensor variance = make_filled(DType::fp32, {channels}, 5, 0.5, 2);
      const Tensor addend = make_filled(dtype, shape, 6, -3, 3);
      for (const bool ends : {false, true}) {
        const Tensor found = make(dtype, shape);
        const Tensor wanted = make(DType::fp32, shape);
        BatchNormInference args{
            .x = x, .gamma = gamma, .beta = beta, .mean = mean, .variance = variance, .addend = {}, .y = found};
        if (ends) args.addend = addend;
        if (ends) args.activation = Activation::relu;
        run_fast(args);
        args.y = wanted;
        run_oracle(args);
        // |gamma (x - mean) / sqrt(variance)| <= 2 * 2 / 0.7 < 6: subtraction, factor, product; then the sum; then the addend,
        // added to at most 7.
        const auto error = [&](std::int64_t i) {
          return 3 * kUnit * 6 + kUnit * std::abs(value_at(wanted, i)) + (ends ? 7 * kUnit : 0);
        };
        expect_rounded_once(found, wanted, error, describe(dtype, shape));
      }
    }
  }
}

/// Sums over the rows of one channel of the magnitudes that the backward sums add.
struct GradientSums {
  double dy = 0;
  double products = 0;
};

class KernelBatchNormBackward : public kernel_case::KernelCase {
 protected:
  /// What a backward pass reads, and what it writes.
  struct Backward {
    Tensor x, dy, gamma, beta, mean, rstd;
  };
  struct Gradients {
    Tensor dx, dgamma, dbeta;
  };

  Backward make_backward(DType dtype, const Shape& shape) {
    const Shape channels{shape[-1]};
    return {make_filled(dtype, shape, 1),
            make_filled(dtype, shape, 2),
            make_filled(DType::fp32, channels, 3, -2, 2),
            make(DType::fp32, channels),
            make_filled(DType::fp32, channels, 4, -0.1, 0.1),
            make_filled(DType::fp32, channels, 5, 1, 2)};
  }
  Gradients make_gradients(DType dtype, const Shape& shape) {
    const Shape channels{shape[-1]};
    return {make(dtype, shape), make_filled(DType::fp32, channels, 6), make_filled(DType::fp32, channels, 7)};
  }
  static BatchNormBackward arguments(const Backward& in, const Gradients& out, const ConstTensorView& valid_samples,
                                     bool accumulate) {
    return {.x = in.x,
            .dy = in.dy,
            .gamma = in.gamma,
            .beta = in.beta,
            .mean = in.mean,
            .rstd = in.rstd,
            .dx = out.dx,
            .dgamma = out.dgamma,
            .dbeta = out.dbeta,
            .valid_samples = valid_samples,
            .sums = {},
            .accumulate = accumulate,
            .workspace = {}};
  }

  /// Compares a backward pass with the oracle's; `accumulate` starts from given parameter gradients.
  void expect_backward(DType dtype, const Shape& shape, std::int64_t valid, bool accumulate) {
    const Backward in = make_backward(dtype, shape);
    const Tensor valid_samples = make_int32(static_cast<std::int32_t>(valid));
    const Gradients found = make_gradients(dtype, shape);
    run_fast(arguments(in, found, valid_samples, accumulate));
    expect_like_oracle(in, found, valid, accumulate);
  }

  void expect_like_oracle(const Backward& in, const Gradients& found, std::int64_t valid, bool accumulate) {
    const Shape& shape = in.x.shape();
    const Gradients wanted = make_gradients(DType::fp32, shape);
    run_oracle(arguments(in, wanted, make_int32(static_cast<std::int32_t>(valid)), accumulate));
    if (shape.elements() == 0) return;

    const std::int64_t rows = shape.elements() / shape[-1] / shape[0] * valid;
    const auto deviation = [&](std::int64_t i) { return value_at(in.x, i) - value_at(in.mean, i % shape[-1]); };
    std::vector<GradientSums> sums(static_cast<std::size_t>(shape[-1]));
    for (std::int64_t i = 0; i < rows * shape[-1]; ++i) {
      GradientSums& sum = sums[static_cast<std::size_t>(i % shape[-1])];
      sum.dy += std::abs(value_at(in.dy, i));
      sum.products += std::abs(value_at(in.dy, i) * deviation(i));
    }
    // Additions of a block; the product adds its deviation's rounding and its own; the total is rounded to FP32.
    const auto dy_error = [&](std::int64_t c) { return (kBlockDepth + 1) * kUnit * sums[static_cast<std::size_t>(c)].dy; };
    const auto product_error = [&](std::int64_t c) {
      return (kBlockDepth + 3) * kUnit * sums[static_cast<std::size_t>(c)].products;
    };
    const std::string what = describe(in.x.dtype(), shape) + (accumulate ? " accumulated" : "");
    expect_rounded_once(found.dbeta, wanted.dbeta, dy_error, what + " dbeta");
    expect_rounded_once(
        found.dgamma, wanted.dgamma, [&](auto c) { return product_error(c) * value_at(in.rstd, c); }, what + " dgamma");
    const auto dx_error = [&](std::int64_t i) {
      if (i >= rows * shape[-1]) return 0.0;
      const std::int64_t c = i % shape[-1];
      const double r = value_at(in.rstd, c);
      const double a = std::abs(value_at(in.gamma, c)) * r;
      const double n = static_cast<double>(rows);
      const double through_sums = a * (dy_error(c) / n + std::abs(deviation(i)) * r * r * product_error(c) / n);
      // Each of the three terms is rounded in its coefficient, its factor, its product and two sums.
      const double terms = a * (std::abs(value_at(in.dy, i)) + sums[static_cast<std::size_t>(c)].dy / n +
                                std::abs(deviation(i)) * r * r * sums[static_cast<std::size_t>(c)].products / n);
      return through_sums + 5 * kUnit * terms;
    };
    expect_rounded_once(found.dx, wanted.dx, dx_error, what + " dx");
  }

  /// The gradients of 9 samples that several ranks have. The ranks' gradients of parameters add up to those of all at once.
  void expect_backward_of_ranks(DType dtype, const Shape& image) {
    const auto batch_of = [&](std::int64_t samples) { return Shape{samples, image[0], image[1], image[2]}; };
    const std::int64_t width = 2 * image[2] + 1, ranks = static_cast<std::int64_t>(kRankParts.size());
    const Backward whole = make_backward(dtype, batch_of(9));
    const Gradients together = make_gradients(dtype, batch_of(9));
    const Tensor gathered = make(DType::fp32, {ranks, width});
    std::vector<Backward> inputs;
    std::vector<Tensor> counts;
    for (std::int64_t rank = 0; rank < ranks; ++rank) {
      const RankPart& part = kRankParts[static_cast<std::size_t>(rank)];
      Backward own = whole;
      own.x = make_filled(dtype, batch_of(kRankBatch), 30);
      own.dy = make_filled(dtype, batch_of(kRankBatch), 31);
      copy_samples(whole.x, part.first, own.x, 0, part.valid);
      copy_samples(whole.dy, part.first, own.dy, 0, part.valid);
      counts.push_back(make_int32(static_cast<std::int32_t>(part.valid)));
      run_fast(BatchNormSums{.x = own.x,
                             .dy = own.dy,
                             .gamma = own.gamma,
                             .beta = own.beta,
                             .mean = own.mean,
                             .rstd = own.rstd,
                             .dgamma = together.dgamma,
                             .dbeta = together.dbeta,
                             .sums = gathered.view().slice(rank * width, (rank + 1) * width),
                             .valid_samples = counts.back(),
                             .accumulate = rank > 0,
                             .workspace = {}});
      inputs.push_back(std::move(own));
    }
    for (std::size_t rank = 0; rank < kRankParts.size(); ++rank) {
      Gradients own = make_gradients(dtype, batch_of(kRankBatch));
      BatchNormBackward args = arguments(inputs[rank], own, counts[rank], false);
      args.sums = gathered;
      args.dgamma = args.dbeta = {};
      run_fast(args);
      copy_samples(own.dx, 0, together.dx, kRankParts[rank].first, kRankParts[rank].valid);
      const std::int64_t elements = own.dx.shape().elements_per_sample();
      for (std::int64_t i = kRankParts[rank].valid * elements; i < kRankBatch * elements; ++i) ASSERT_EQ(value_at(own.dx, i), 0);
    }
    expect_like_oracle(whole, together, 9, false);
  }
};

TEST_P(KernelBatchNormBackward, IsWithinItsBoundForEveryTypeAndChannelCount) {
  for (const DType dtype : kernel_case::kFloatingTypes) {
    for (const std::int64_t channels : kernel_case::kChannelCounts) expect_backward(dtype, {5, 7, 11, channels}, 5, false);
    expect_backward(dtype, {0, 7, 11, 5}, 0, false);
  }
}

TEST_P(KernelBatchNormBackward, IsWithinItsBoundOverManyBlocksOfRows) {
  expect_backward(DType::fp16, {2, 35, 31, 130}, 2, false);
}

TEST_P(KernelBatchNormBackward, AddsToParameterGradients) {
  for (const DType dtype : kernel_case::kFloatingTypes) expect_backward(dtype, {3, 5, 5, 17}, 3, true);
}

TEST_P(KernelBatchNormBackward, IgnoresAndClearsPaddingSamples) {
  for (const std::int64_t valid : {2, 0}) {
    expect_backward(DType::fp16, {3, 5, 5, 17}, valid, false);
    expect_backward(DType::fp16, {3, 5, 5, 17}, valid, true);
  }
}

TEST_P(KernelBatchNormBackward, OfRanksTogetherIsWithinTheBoundOfOne) {
  for (const DType dtype : kernel_case::kFloatingTypes) {
    for (const std::int64_t channels : kernel_case::kChannelCounts) expect_backward_of_ranks(dtype, {7, 11, channels});
  }
}

TEST_P(KernelBatchNormBackward, WithAnActivationHasTheBitsOfAReluBeforeIt) {
  for (const DType dtype : kernel_case::kFloatingTypes) {
    for (const std::int64_t c : {1, 3, 17, 64, 100, 513}) {
      const Shape shape{4, 5, 7, c}, channels{c};
      const Tensor x = make_filled(dtype, shape, 1), dy = make_filled(dtype, shape, 2);
      const Tensor gamma = make_filled(DType::fp32, channels, 3, -2, 2), beta = make_filled(DType::fp32, channels, 4, -1, 1);
      gamma.view().data<float>()[0] = 0x1p-25F;  // results about half of FP16's least number: some are stored as 0
      beta.view().data<float>()[0] = 0;
      if (c > 1) kernel_case::set_value(x, 2 * c - 1, NAN);
      const Tensor three = make_int32(3), y = make(dtype, shape), mean = make(DType::fp32, channels),
                   rstd = make(DType::fp32, channels);
      run_fast(BatchNormForward{.x = x,
                                .gamma = gamma,
                                .beta = beta,
                                .addend = {},
                                .y = y,
                                .mean = mean,
                                .rstd = rstd,
                                .running_mean = {},
                                .running_variance = {},
                                .activation = Activation::relu,
                                .valid_samples = three,
                                .workspace = {}});
      const Tensor passed = make(dtype, shape);
      run_fast(ReluBackward{.y = y, .dy = dy, .dx = passed});

      const auto backward = [&](const Tensor& gradient, Activation activation) {
        const std::array out{make(dtype, shape), make(DType::fp32, channels), make(DType::fp32, channels)};
        run_fast(BatchNormBackward{.x = x,
                                   .dy = gradient,
                                   .gamma = gamma,
                                   .beta = beta,
                                   .mean = mean,
                                   .rstd = rstd,
                                   .dx = out[0],
                                   .dgamma = out[1],
                                   .dbeta = out[2],
                                   .activation = activation,
                                   .valid_samples = three,
                                   .workspace = {}});
        return out;
      };
      const auto found = backward(dy, Activation::relu), wanted = backward(passed, Activation::none);
      for (std::size_t k = 0; k < found.size(); ++k) {
        kernel_case::expect_same(found[k], wanted[k], describe(dtype, shape) + " gradient " + std::to_string(k));
      }
    }
  }
}

TEST_P(KernelBatchNormBackward, MayOverwriteDy) {
  const Shape shape{3, 5, 5, 35};
  const Tensor x = make_filled(DType::fp16, shape, 1);
  const Tensor dy = make_filled(DType::fp16, shape, 2);
  const Tensor ones = make_filled(DType::fp32, {35}, 3, 1, 1);
  const Tensor zeros = make_filled(DType::fp32, {35}, 3, 0, 0);
  const Tensor dx = make(DType::fp16, shape), dgamma = make(DType::fp32, {35}), dbeta = make(DType::fp32, {35});
  BatchNormBackward args{.x = x,
                         .dy = dy,
                         .gamma = ones,
                         .beta = zeros,
                         .mean = zeros,
                         .rstd = ones,
                         .dx = dx,
                         .dgamma = dgamma,
                         .dbeta = dbeta,
                         .valid_samples = {},
                         .workspace = {}};
  run_fast(args);
  args.dx = dy;
  run_fast(args);
  kernel_case::expect_same(dy, dx, "dx in the place of dy");
}

}  // namespace minim::batch_norm_suite
