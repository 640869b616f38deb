#include <cmath>

#include "reference/elements.h"
#include "reference/kernels.h"

namespace minim::reference {
namespace {

/// The elements that share a channel, over the valid samples.
struct Channels {
  Channels(const ConstTensorView& x, const ConstTensorView& valid_samples)
      : count(x.shape()[-1]),
        valid_rows(count == 0 ? 0 : x.shape().elements_per_sample() / count * count_valid(valid_samples, x.shape()[0])),
        rows(count == 0 ? 0 : x.elements() / count) {}

  std::int64_t count;
  std::int64_t valid_rows;  ///< positions of all valid samples: elements that a channel's statistics cover
  std::int64_t rows;        ///< positions of all samples
};

void store_zero_padding(const Channels& channels, const Output& out) {
  for (std::int64_t i = channels.valid_rows * channels.count; i < channels.rows * channels.count; ++i) out.store(i, 0);
}

void update_running(const TensorView& running, std::int64_t c, double momentum, double batch) {
  if (!running.present()) return;
  const Output out(running);
  out.store(c, (1 - momentum) * out[c] + momentum * batch);
}

double addend_at(const ConstTensorView& addend, std::int64_t i) { return addend.present() ? Input(addend)[i] : 0; }

/// Means and sums of squared deviations over all valid samples, of one rank or several.
struct Moments {
  double count = 0, mean = 0, squares = 0;
};

Moments moments_of(const ConstTensorView& view, const Channels& channels, std::int64_t c) {
  Moments moments{.count = static_cast<double>(channels.valid_rows)};
  if (channels.valid_rows == 0) return moments;
  const Input x(view);
  for (std::int64_t row = 0; row < channels.valid_rows; ++row) moments.mean += x[row * channels.count + c];
  moments.mean /= moments.count;
  for (std::int64_t row = 0; row < channels.valid_rows; ++row) {
    moments.squares += std::pow(x[row * channels.count + c] - moments.mean, 2);
  }
  return moments;
}

/// `gathered`: [ranks, 2 C + 1].
Moments moments_of_ranks(const ConstTensorView& gathered, std::int64_t channels, std::int64_t c) {
  const Input values(gathered);
  const std::int64_t ranks = gathered.shape()[0], width = 2 * channels + 1;
  const auto of_rank = [&](std::int64_t rank) {
    return Moments{values[rank * width + 2 * channels], values[rank * width + c], values[rank * width + channels + c]};
  };
  Moments all;
  for (std::int64_t rank = 0; rank < ranks; ++rank) all.count += of_rank(rank).count;
  if (all.count == 0) return all;
  for (std::int64_t rank = 0; rank < ranks; ++rank) all.mean += of_rank(rank).count * of_rank(rank).mean;
  all.mean /= all.count;
  for (std::int64_t rank = 0; rank < ranks; ++rank) {
    all.squares += of_rank(rank).squares + of_rank(rank).count * std::pow(of_rank(rank).mean - all.mean, 2);
  }
  return all;
}

void forward_channel(const BatchNormForward& args, const Channels& channels, std::int64_t c) {
  const Input x(args.x), gamma(args.gamma), beta(args.beta);
  const auto [count, mean, squares] =
      args.moments.present() ? moments_of_ranks(args.moments, channels.count, c) : moments_of(args.x, channels, c);
  if (count == 0) return;
  const double variance = squares / count;
  const double rstd = 1 / std::sqrt(variance + args.epsilon);

  const Output y(args.y);
  for (std::int64_t row = 0; row < channels.valid_rows; ++row) {
    const std::int64_t i = row * channels.count + c;
    y.store(i, activate(gamma[c] * (x[i] - mean) * rstd + beta[c] + addend_at(args.addend, i), args.activation));
  }
  Output(args.mean).store(c, mean);
  Output(args.rstd).store(c, rstd);
  update_running(args.running_mean, c, args.momentum, mean);
  update_running(args.running_variance, c, args.momentum, count > 1 ? squares / (count - 1) : variance);
}

/// As it would be stored.
float rounded(float value, DType dtype) {
  return dispatch_floating(dtype, [&](auto element) { return to_float(round_to<decltype(element)>(value)); });
}

/// dy as it is behind the activation: of BatchNormBackward or BatchNormSums.
template <class Args>
double gradient_at(const Args& args, std::int64_t i, std::int64_t c) {
  const double dy = Input(args.dy)[i];
  if (args.activation == Activation::none) return dy;
  const double normalized = (double{Input(args.x)[i]} - Input(args.mean)[c]) * Input(args.rstd)[c];
  const auto y = static_cast<float>(Input(args.gamma)[c] * normalized + Input(args.beta)[c]);
  return rounded(y, args.x.dtype()) > 0 ? dy : 0.0;
}

/// Sums over all valid samples, of one rank or several.
struct Sums {
  double count = 0;
  double dy = 0;
  double product = 0;  ///< of dy * (x - mean)
};

template <class Args>
Sums sums_of(const Args& args, const Channels& channels, std::int64_t c) {
  const Input x(args.x), mean(args.mean);
  Sums sums{.count = static_cast<double>(channels.valid_rows)};
  for (std::int64_t row = 0; row < channels.valid_rows; ++row) {
    const std::int64_t i = row * channels.count + c;
    sums.dy += gradient_at(args, i, c);
    sums.product += gradient_at(args, i, c) * (double{x[i]} - mean[c]);
  }
  return sums;
}

Sums sums_of_ranks(const ConstTensorView& gathered, std::int64_t channels, std::int64_t c) {
  const Input values(gathered);
  const std::int64_t width = 2 * channels + 1;
  Sums all;
  for (std::int64_t rank = 0; rank < gathered.shape()[0]; ++rank) {
    all.count += values[rank * width + 2 * channels];
    all.dy += values[rank * width + c];
    all.product += values[rank * width + channels + c];
  }
  return all;
}

template <class Args>
void store_parameter_gradients(const Args& args, const Sums& sums, std::int64_t c) {
  const Output dgamma(args.dgamma), dbeta(args.dbeta);
  const double gamma_gradient = sums.count == 0 ? 0 : sums.product * Input(args.rstd)[c];  // without samples nobody wrote rstd
  dgamma.store(c, gamma_gradient + (args.accumulate ? dgamma[c] : 0.0));
  dbeta.store(c, sums.dy + (args.accumulate ? dbeta[c] : 0.0));
}

void backward_channel(const BatchNormBackward& args, const Channels& channels, std::int64_t c) {
  const Input x(args.x), gamma(args.gamma), mean(args.mean), rstd(args.rstd);
  const bool of_ranks = args.sums.present();
  const Sums sums = of_ranks ? sums_of_ranks(args.sums, channels.count, c) : sums_of(args, channels, c);
  const Output dx(args.dx);
  for (std::int64_t row = 0; row < channels.valid_rows; ++row) {
    const std::int64_t i = row * channels.count + c;
    const double projected = (double{x[i]} - mean[c]) * rstd[c] * rstd[c] * sums.product / sums.count;
    dx.store(i, double{gamma[c]} * rstd[c] * (gradient_at(args, i, c) - sums.dy / sums.count - projected));
  }
  if (!of_ranks) store_parameter_gradients(args, sums, c);
}

}  // namespace

void run(const BatchNormMoments& args) {
  const Channels channels(args.x, args.valid_samples);
  const Output out(args.moments);
  for (std::int64_t c = 0; c < channels.count; ++c) {
    const Moments moments = moments_of(args.x, channels, c);
    out.store(c, moments.mean);
    out.store(channels.count + c, moments.squares);
  }
  out.store(2 * channels.count, static_cast<double>(channels.valid_rows));
}

void run(const BatchNormForward& args) {
  const Channels channels(args.x, args.valid_samples);
  store_zero_padding(channels, Output(args.y));
  for (std::int64_t c = 0; c < channels.count; ++c) forward_channel(args, channels, c);
}

void run(const BatchNormInference& args) {
  const Input x(args.x), gamma(args.gamma), beta(args.beta), mean(args.mean), variance(args.variance);
  const Output y(args.y);
  for (std::int64_t i = 0; i < args.x.elements(); ++i) {
    const std::int64_t c = i % args.x.shape()[-1];
    const double normalized = gamma[c] * (double{x[i]} - mean[c]) / std::sqrt(variance[c] + args.epsilon) + beta[c];
    y.store(i, activate(normalized + addend_at(args.addend, i), args.activation));
  }
}

void run(const BatchNormSums& args) {
  const Channels channels(args.x, args.valid_samples);
  const Output out(args.sums);
  for (std::int64_t c = 0; c < channels.count; ++c) {
    const Sums sums = sums_of(args, channels, c);
    out.store(c, sums.dy);
    out.store(channels.count + c, sums.product);
    store_parameter_gradients(args, sums, c);
  }
  out.store(2 * channels.count, static_cast<double>(channels.valid_rows));
}

void run(const BatchNormBackward& args) {
  const Channels channels(args.x, args.valid_samples);
  for (std::int64_t c = 0; c < channels.count; ++c) backward_channel(args, channels, c);
  store_zero_padding(channels, Output(args.dx));
}

}  // namespace minim::reference
