#include "reference/elements.h"
#include "reference/kernels.h"

namespace minim::reference {

void run(const LinearForward& args) {
  const Input x(args.x), w(args.w), bias(args.bias);
  const Output y(args.y);
  const std::int64_t samples = args.x.shape()[0], inputs = args.x.shape()[1], outputs = args.w.shape()[0];
  for (std::int64_t n = 0; n < samples; ++n) {
    for (std::int64_t o = 0; o < outputs; ++o) {
      double sum = args.bias.present() ? bias[o] : 0.0;
      for (std::int64_t i = 0; i < inputs; ++i) sum += double{x[n * inputs + i]} * double{w[o * inputs + i]};
      y.store(n * outputs + o, activate(sum, args.activation));
    }
  }
}

void run(const LinearBackwardData& args) {
  const Input dy(args.dy), w(args.w);
  const Output dx(args.dx);
  const std::int64_t samples = args.dy.shape()[0], inputs = args.w.shape()[1], outputs = args.w.shape()[0];
  for (std::int64_t n = 0; n < samples; ++n) {
    for (std::int64_t i = 0; i < inputs; ++i) {
      double sum = 0;
      for (std::int64_t o = 0; o < outputs; ++o) sum += double{dy[n * outputs + o]} * double{w[o * inputs + i]};
      dx.store(n * inputs + i, sum);
    }
  }
}

void run(const LinearBackwardWeights& args) {
  const Input x(args.x), dy(args.dy);
  const Output dw(args.dw), dbias(args.dbias);
  const std::int64_t samples = args.x.shape()[0], inputs = args.x.shape()[1], outputs = args.dy.shape()[1];
  for (std::int64_t o = 0; o < outputs; ++o) {
    for (std::int64_t i = 0; i < inputs; ++i) {
      double sum = args.accumulate ? dw[o * inputs + i] : 0.0;
      for (std::int64_t n = 0; n < samples; ++n) sum += double{dy[n * outputs + o]} * double{x[n * inputs + i]};
      dw.store(o * inputs + i, sum);
    }
    if (!args.dbias.present()) continue;
    double sum = args.accumulate ? dbias[o] : 0.0;
    for (std::int64_t n = 0; n < samples; ++n) sum += dy[n * outputs + o];
    dbias.store(o, sum);
  }
}

}  // namespace minim::reference
