#include <algorithm>
#include <cmath>
#include <vector>

#include "reference/elements.h"
#include "reference/kernels.h"

namespace minim::reference {
namespace {

/// Calls `row(begin)` with the first element of every row.
template <class Row>
void for_rows(const ConstTensorView& x, const Row& row) {
  const std::int64_t channels = x.shape()[-1];
  for (std::int64_t begin = 0; begin < x.elements(); begin += channels) row(begin);
}

/// The sum of `term(c)` over the window around channel `c`.
template <class Term>
double window_sum(std::int64_t c, std::int64_t channels, const ResponseWindow& window, const Term& term) {
  double sum = 0;
  const std::int64_t last = std::min(c + window.size / 2, channels - 1);
  for (std::int64_t i = std::max<std::int64_t>(c - window.size / 2, 0); i <= last; ++i) sum += term(i);
  return sum;
}

/// s of every channel of the row that begins at `begin`.
std::vector<double> norms(const Input& x, std::int64_t begin, std::int64_t channels, const ResponseWindow& window) {
  std::vector<double> s;
  for (std::int64_t c = 0; c < channels; ++c) {
    const double squares = window_sum(c, channels, window, [&](std::int64_t i) { return std::pow(double{x[begin + i]}, 2); });
    s.push_back(window.k + window.alpha / static_cast<double>(window.size) * squares);
  }
  return s;
}

}  // namespace

void run(const LocalResponseNormForward& args) {
  const Input x(args.x);
  const Output y(args.y);
  const std::int64_t channels = args.x.shape()[-1];
  for_rows(args.x, [&](std::int64_t begin) {
    const std::vector<double> s = norms(x, begin, channels, args.window);
    for (std::int64_t c = 0; c < channels; ++c) {
      y.store(begin + c, x[begin + c] * std::pow(s[static_cast<std::size_t>(c)], -args.window.beta));
    }
  });
}

void run(const LocalResponseNormBackward& args) {
  const Input x(args.x), dy(args.dy);
  const Output dx(args.dx);
  const ResponseWindow& window = args.window;
  const std::int64_t channels = args.x.shape()[-1];
  const double factor = 2 * window.alpha * window.beta / static_cast<double>(window.size);
  for_rows(args.x, [&](std::int64_t begin) {
    const std::vector<double> s = norms(x, begin, channels, window);
    for (std::int64_t c = 0; c < channels; ++c) {
      const double others = window_sum(c, channels, window, [&](std::int64_t i) {
        return double{dy[begin + i]} * x[begin + i] * std::pow(s[static_cast<std::size_t>(i)], -window.beta - 1);
      });
      const double own = dy[begin + c] * std::pow(s[static_cast<std::size_t>(c)], -window.beta);
      dx.store(begin + c, own - factor * x[begin + c] * others);
    }
  });
}

}  // namespace minim::reference
