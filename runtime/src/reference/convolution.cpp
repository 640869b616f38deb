#include <vector>

#include "reference/elements.h"
#include "reference/kernels.h"

namespace minim::reference {
namespace {

/// Calls `visit(x_index, w_index, y_index)` for every product that the convolution sums.
template <class Visit>
void for_each_product(const Shape& x, const Shape& w, const Shape& y, const Conv2dGeometry& geometry, Visit visit) {
  const Index4 at_x(x), at_w(w), at_y(y);
  const std::int64_t channels_per_group = w[3], outputs_per_group = w[0] / geometry.groups;
  // One output element.
  const auto visit_window = [&](std::int64_t n, std::int64_t oh, std::int64_t ow, std::int64_t o) {
    const std::int64_t first_channel = o / outputs_per_group * channels_per_group;
    for (std::int64_t kh = 0; kh < w[1]; ++kh) {
      const std::int64_t h = oh * geometry.stride_h - geometry.pad_top + kh * geometry.dilation_h;
      if (h < 0 || h >= x[1]) continue;
      for (std::int64_t kw = 0; kw < w[2]; ++kw) {
        const std::int64_t v = ow * geometry.stride_w - geometry.pad_left + kw * geometry.dilation_w;
        if (v < 0 || v >= x[2]) continue;
        for (std::int64_t c = 0; c < channels_per_group; ++c) {
          visit(at_x(n, h, v, first_channel + c), at_w(o, kh, kw, c), at_y(n, oh, ow, o));
        }
      }
    }
  };
  for (std::int64_t n = 0; n < y[0]; ++n) {
    for (std::int64_t oh = 0; oh < y[1]; ++oh) {
      for (std::int64_t ow = 0; ow < y[2]; ++ow) {
        for (std::int64_t o = 0; o < y[3]; ++o) visit_window(n, oh, ow, o);
      }
    }
  }
}

std::vector<double> zeros(const ConstTensorView& view) { return std::vector<double>(static_cast<std::size_t>(view.elements())); }

void store(const std::vector<double>& sums, const TensorView& to, bool accumulate = false) {
  const Output out(to);
  for (std::int64_t i = 0; i < to.elements(); ++i) out.store(i, sums[static_cast<std::size_t>(i)] + (accumulate ? out[i] : 0.0));
}

}  // namespace

void run(const Conv2dForward& args) {
  const Input x(args.x), w(args.w), bias(args.bias);
  std::vector<double> y = zeros(args.y);
  for_each_product(args.x.shape(), args.w.shape(), args.y.shape(), args.geometry,
                   [&](std::int64_t ix, std::int64_t iw, std::int64_t iy) {
                     y[static_cast<std::size_t>(iy)] += double{x[ix]} * double{w[iw]};
                   });
  if (args.bias.present()) {
    for (std::size_t i = 0; i < y.size(); ++i) y[i] += bias[static_cast<std::int64_t>(i) % args.y.shape()[3]];
  }
  for (double& sum : y) sum = activate(sum, args.activation);
  store(y, args.y);
}

void run(const Conv2dBackwardData& args) {
  const Input dy(args.dy), w(args.w);
  std::vector<double> dx = zeros(args.dx);
  for_each_product(args.dx.shape(), args.w.shape(), args.dy.shape(), args.geometry,
                   [&](std::int64_t ix, std::int64_t iw, std::int64_t iy) {
                     dx[static_cast<std::size_t>(ix)] += double{dy[iy]} * double{w[iw]};
                   });
  store(dx, args.dx);
}

void run(const Conv2dBackwardWeights& args) {
  const Input x(args.x), dy(args.dy);
  std::vector<double> dw = zeros(args.dw);
  for_each_product(args.x.shape(), args.dw.shape(), args.dy.shape(), args.geometry,
                   [&](std::int64_t ix, std::int64_t iw, std::int64_t iy) {
                     dw[static_cast<std::size_t>(iw)] += double{x[ix]} * double{dy[iy]};
                   });
  store(dw, args.dw, args.accumulate);
  if (!args.dbias.present()) return;
  std::vector<double> dbias = zeros(args.dbias);
  for (std::int64_t i = 0; i < args.dy.elements(); ++i) dbias[static_cast<std::size_t>(i % args.dbias.elements())] += dy[i];
  store(dbias, args.dbias, args.accumulate);
}

}  // namespace minim::reference
