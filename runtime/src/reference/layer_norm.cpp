#include <cmath>

#include "reference/elements.h"
#include "reference/kernels.h"

namespace minim::reference {
namespace {

/// Calls `row(r, begin)` with the number and the first element of every row.
template <class Row>
void for_rows(const ConstTensorView& x, const Row& row) {
  const std::int64_t channels = x.shape()[-1];
  for (std::int64_t r = 0; r * channels < x.elements(); ++r) row(r, r * channels);
}

}  // namespace

void run(const LayerNormForward& args) {
  const Input x(args.x), gamma(args.gamma), beta(args.beta);
  const Output y(args.y), mean_out(args.mean), rstd_out(args.rstd);
  const std::int64_t channels = args.x.shape()[-1];
  const auto count = static_cast<double>(channels);
  for_rows(args.x, [&](std::int64_t r, std::int64_t begin) {
    double sum = 0, squares = 0;
    for (std::int64_t c = 0; c < channels; ++c) sum += x[begin + c];
    const double mean = sum / count;
    for (std::int64_t c = 0; c < channels; ++c) squares += std::pow(x[begin + c] - mean, 2);
    const double rstd = 1 / std::sqrt(squares / count + args.epsilon);
    for (std::int64_t c = 0; c < channels; ++c) y.store(begin + c, gamma[c] * (x[begin + c] - mean) * rstd + beta[c]);
    mean_out.store(r, mean);
    rstd_out.store(r, rstd);
  });
}

void run(const LayerNormBackwardData& args) {
  const Input x(args.x), dy(args.dy), gamma(args.gamma), mean(args.mean), rstd(args.rstd);
  const Output dx(args.dx);
  const std::int64_t channels = args.x.shape()[-1];
  const auto count = static_cast<double>(channels);
  for_rows(args.x, [&](std::int64_t r, std::int64_t begin) {
    const auto gradient = [&](std::int64_t c) { return double{dy[begin + c]} * gamma[c]; };
    const auto normalized = [&](std::int64_t c) { return (double{x[begin + c]} - mean[r]) * rstd[r]; };
    double sum = 0, product = 0;
    for (std::int64_t c = 0; c < channels; ++c) sum += gradient(c), product += gradient(c) * normalized(c);
    for (std::int64_t c = 0; c < channels; ++c) {
      dx.store(begin + c, rstd[r] * (gradient(c) - sum / count - normalized(c) * product / count));
    }
  });
}

void run(const LayerNormBackwardWeights& args) {
  const Input x(args.x), dy(args.dy), mean(args.mean), rstd(args.rstd);
  const Output dgamma(args.dgamma), dbeta(args.dbeta);
  const std::int64_t channels = args.x.shape()[-1];
  for (std::int64_t c = 0; c < channels; ++c) {
    double sum = args.accumulate ? dbeta[c] : 0, product = args.accumulate ? dgamma[c] : 0;
    for_rows(args.x, [&](std::int64_t r, std::int64_t begin) {
      sum += dy[begin + c];
      product += dy[begin + c] * (double{x[begin + c]} - mean[r]) * rstd[r];
    });
    dbeta.store(c, sum);
    dgamma.store(c, product);
  }
}

}  // namespace minim::reference
