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

void forward_channel(const BatchNormForward& args, const Channels& channels, std::int64_t c) {
  const Input x(args.x), gamma(args.gamma), beta(args.beta);
  const auto count = static_cast<double>(channels.valid_rows);
  double sum = 0;
  for (std::int64_t row = 0; row < channels.valid_rows; ++row) sum += x[row * channels.count + c];
  const double mean = sum / count;
  double squares = 0;
  for (std::int64_t row = 0; row < channels.valid_rows; ++row) squares += std::pow(x[row * channels.count + c] - mean, 2);
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
  update_running(args.running_variance, c, args.momentum, channels.valid_rows > 1 ? squares / (count - 1) : variance);
}

/// As it would be stored.
float rounded(float value, DType dtype) {
  return dispatch_floating(dtype, [&](auto element) { return to_float(round_to<decltype(element)>(value)); });
}

void backward_channel(const BatchNormBackward& args, const Channels& channels, std::int64_t c) {
  const Input x(args.x), gradient(args.dy), gamma(args.gamma), mean(args.mean), rstd(args.rstd);
  const auto normalized = [&](std::int64_t i) { return (double{x[i]} - mean[c]) * rstd[c]; };
  const auto dy = [&](std::int64_t i) {
    if (args.activation == Activation::none) return double{gradient[i]};
    const auto y = static_cast<float>(gamma[c] * normalized(i) + Input(args.beta)[c]);
    return rounded(y, args.x.dtype()) > 0 ? double{gradient[i]} : 0.0;
  };
  double dgamma = 0, dbeta = 0;
  for (std::int64_t row = 0; row < channels.valid_rows; ++row) {
    const std::int64_t i = row * channels.count + c;
    dgamma += dy(i) * normalized(i);
    dbeta += dy(i);
  }
  const Output dx(args.dx), dgamma_out(args.dgamma), dbeta_out(args.dbeta);
  const auto count = static_cast<double>(channels.valid_rows);
  for (std::int64_t row = 0; row < channels.valid_rows; ++row) {
    const std::int64_t i = row * channels.count + c;
    dx.store(i, double{gamma[c]} * rstd[c] * (dy(i) - dbeta / count - normalized(i) * dgamma / count));
  }
  dgamma_out.store(c, dgamma + (args.accumulate ? dgamma_out[c] : 0.0));
  dbeta_out.store(c, dbeta + (args.accumulate ? dbeta_out[c] : 0.0));
}

}  // namespace

void run(const BatchNormForward& args) {
  const Channels channels(args.x, args.valid_samples);
  store_zero_padding(channels, Output(args.y));
  if (channels.valid_rows == 0) return;
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

void run(const BatchNormBackward& args) {
  const Channels channels(args.x, args.valid_samples);
  for (std::int64_t c = 0; c < channels.count; ++c) backward_channel(args, channels, c);
  store_zero_padding(channels, Output(args.dx));
}

}  // namespace minim::reference
