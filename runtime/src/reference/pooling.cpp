#include <cmath>
#include <vector>

#include "reference/elements.h"
#include "reference/kernels.h"

namespace minim::reference {
namespace {

/// Calls `visit(n, oh, ow, c)` for every output element.
template <class Visit>
void for_each_output(const Shape& y, Visit visit) {
  for (std::int64_t n = 0; n < y[0]; ++n) {
    for (std::int64_t oh = 0; oh < y[1]; ++oh) {
      for (std::int64_t ow = 0; ow < y[2]; ++ow) {
        for (std::int64_t c = 0; c < y[3]; ++c) visit(n, oh, ow, c);
      }
    }
  }
}

/// Calls `visit(h, w, position)` for the elements of window (oh, ow) inside an image of shape `x`, row by row.
template <class Visit>
void for_each_in_window(const PoolGeometry& geometry, const Shape& x, std::int64_t oh, std::int64_t ow, Visit visit) {
  for (std::int64_t position = 0; position < geometry.window_h * geometry.window_w; ++position) {
    const std::int64_t h = oh * geometry.stride_h - geometry.pad_top + position / geometry.window_w;
    const std::int64_t w = ow * geometry.stride_w - geometry.pad_left + position % geometry.window_w;
    if (h >= 0 && h < x[1] && w >= 0 && w < x[2]) visit(h, w, position);
  }
}

double divisor(const PoolGeometry& geometry, const Shape& x, std::int64_t oh, std::int64_t ow, bool count_padding) {
  std::int64_t inside = 0;
  for_each_in_window(geometry, x, oh, ow, [&](auto, auto, auto) { ++inside; });
  return static_cast<double>(count_padding ? geometry.window_h * geometry.window_w : inside);
}

void store(const std::vector<double>& sums, const TensorView& to) {
  const Output out(to);
  for (std::int64_t i = 0; i < to.elements(); ++i) out.store(i, sums[static_cast<std::size_t>(i)]);
}

}  // namespace

void run(const MaxPoolForward& args) {
  const Input x(args.x);
  const Output y(args.y);
  const Index4 at_x(args.x.shape()), at_y(args.y.shape());
  for_each_output(args.y.shape(), [&](std::int64_t n, std::int64_t oh, std::int64_t ow, std::int64_t c) {
    float largest = 0;
    std::int64_t winner = -1;
    for_each_in_window(args.geometry, args.x.shape(), oh, ow, [&](std::int64_t h, std::int64_t w, std::int64_t position) {
      const float value = x[at_x(n, h, w, c)];
      if (winner >= 0 && !(value > largest) && !(std::isnan(value) && !std::isnan(largest))) return;
      largest = value;
      winner = position;
    });
    y.store(at_y(n, oh, ow, c), largest);
    if (args.argmax.present()) args.argmax.data<std::uint8_t>()[at_y(n, oh, ow, c)] = static_cast<std::uint8_t>(winner);
  });
}

void run(const MaxPoolBackward& args) {
  const Input dy(args.dy);
  const Index4 at_x(args.dx.shape()), at_y(args.dy.shape());
  std::vector<double> dx(static_cast<std::size_t>(args.dx.elements()));
  for_each_output(args.dy.shape(), [&](std::int64_t n, std::int64_t oh, std::int64_t ow, std::int64_t c) {
    const std::int64_t i = at_y(n, oh, ow, c);
    const std::int64_t winner = args.argmax.data<std::uint8_t>()[i];
    for_each_in_window(args.geometry, args.dx.shape(), oh, ow, [&](std::int64_t h, std::int64_t w, std::int64_t position) {
      if (position == winner) dx[static_cast<std::size_t>(at_x(n, h, w, c))] += dy[i];
    });
  });
  store(dx, args.dx);
}

void run(const AveragePoolForward& args) {
  const Input x(args.x);
  const Output y(args.y);
  const Index4 at_x(args.x.shape()), at_y(args.y.shape());
  for_each_output(args.y.shape(), [&](std::int64_t n, std::int64_t oh, std::int64_t ow, std::int64_t c) {
    double sum = 0;
    for_each_in_window(args.geometry, args.x.shape(), oh, ow,
                       [&](std::int64_t h, std::int64_t w, std::int64_t) { sum += x[at_x(n, h, w, c)]; });
    y.store(at_y(n, oh, ow, c), sum / divisor(args.geometry, args.x.shape(), oh, ow, args.count_padding));
  });
}

void run(const AveragePoolBackward& args) {
  const Input dy(args.dy);
  const Index4 at_x(args.dx.shape()), at_y(args.dy.shape());
  std::vector<double> dx(static_cast<std::size_t>(args.dx.elements()));
  for_each_output(args.dy.shape(), [&](std::int64_t n, std::int64_t oh, std::int64_t ow, std::int64_t c) {
    const double share = dy[at_y(n, oh, ow, c)] / divisor(args.geometry, args.dx.shape(), oh, ow, args.count_padding);
    for_each_in_window(args.geometry, args.dx.shape(), oh, ow, [&](std::int64_t h, std::int64_t w, std::int64_t) {
      dx[static_cast<std::size_t>(at_x(n, h, w, c))] += share;
    });
  });
  store(dx, args.dx);
}

void run(const GlobalAveragePoolForward& args) {
  const Input x(args.x);
  const Output y(args.y);
  const std::int64_t positions = args.x.shape()[1] * args.x.shape()[2], channels = args.x.shape()[3];
  for (std::int64_t i = 0; i < args.y.elements(); ++i) {
    const std::int64_t n = i / channels, c = i % channels;
    double sum = 0;
    for (std::int64_t p = 0; p < positions; ++p) sum += x[(n * positions + p) * channels + c];
    y.store(i, sum / static_cast<double>(positions));
  }
}

void run(const GlobalAveragePoolBackward& args) {
  const Input dy(args.dy);
  const Output dx(args.dx);
  const std::int64_t positions = args.dx.shape()[1] * args.dx.shape()[2], channels = args.dx.shape()[3];
  for (std::int64_t i = 0; i < args.dx.elements(); ++i) {
    const std::int64_t n = i / (positions * channels), c = i % channels;
    dx.store(i, dy[n * channels + c] / static_cast<double>(positions));
  }
}

}  // namespace minim::reference
