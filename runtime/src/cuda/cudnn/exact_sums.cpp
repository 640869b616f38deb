#include "cuda/cudnn/exact_sums.h"

#include <algorithm>
#include <cmath>

#include "minim/runtime/philox.h"

namespace minim::cuda::cudnn {
namespace {

/// Sums of so much on average: well beyond 2^11, well below FP16's largest.
constexpr double kMeanSum = 20000;
/// bfloat16 holds integers up to 2^8, and products of these two 127 stay exact.
constexpr double kLargest = 127;

/// Indices of an element in a tensor of rank 4.
std::array<std::int64_t, 4> indices(const Shape& shape, std::int64_t i) {
  return {i / (shape[1] * shape[2] * shape[3]), i / (shape[2] * shape[3]) % shape[1], i / shape[3] % shape[2], i % shape[3]};
}

std::int64_t element(const Shape& shape, std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t d) {
  return ((a * shape[1] + b) * shape[2] + c) * shape[3] + d;
}

}  // namespace

ExactSums::ExactSums(const ConvolutionProblem& problem) : problem_(problem) {
  // Uniform in [0, largest]: products are largest^2 / 4 on average.
  const double largest = 2 * std::sqrt(kMeanSum / static_cast<double>(products_per_sum()));
  const auto choices = static_cast<std::uint32_t>(std::clamp(std::ceil(largest), 1.0, kLargest)) + 1;
  for (std::uint32_t which = 0; which < 2; ++which) {
    values_[which].resize(kPeriod);
    for (std::int64_t i = 0; i < kPeriod; ++i) {
      values_[which][static_cast<std::size_t>(i)] =
          static_cast<std::int8_t>(philox({static_cast<std::uint32_t>(i), which, 0, 0}, {0, 0})[0] % choices);
    }
  }
}

std::int64_t ExactSums::products_per_sum() const {
  switch (problem_.pass) {
    case ConvolutionPass::forward: return problem_.w.elements() / problem_.w[0];
    case ConvolutionPass::backward_data: return problem_.w[0] / problem_.geometry.groups * problem_.w[1] * problem_.w[2];
    case ConvolutionPass::backward_weights: return problem_.y[0] * problem_.y[1] * problem_.y[2];
  }
  return 1;
}

ConvolutionTensor ExactSums::result() const {
  switch (problem_.pass) {
    case ConvolutionPass::forward: return kY;
    case ConvolutionPass::backward_data: return kX;
    case ConvolutionPass::backward_weights: return kW;
  }
  return kY;
}

std::vector<std::pair<std::int64_t, std::int64_t>> ExactSums::repeating(int which) const {
  const ConvolutionTensor tensor = which == 0 ? first() : second();
  const std::int64_t elements = (tensor == kX ? problem_.x : tensor == kW ? problem_.w : problem_.y).elements();
  if (!falls(which)) return {{0, elements}};
  return {{0, elements / 2}, {elements / 2, elements}};
}

std::int64_t ExactSums::operand(int which, std::int64_t i) const {
  const auto& values = values_[static_cast<std::size_t>(which)];
  const std::int64_t half = problem_.y.elements() / 2;
  if (!falls(which) || i < half) return values[static_cast<std::size_t>(i % kPeriod)];
  return -values[static_cast<std::size_t>((i - half) % kPeriod)];
}

std::int64_t ExactSums::at(std::int64_t i) const {
  switch (problem_.pass) {
    case ConvolutionPass::forward: return forward(i);
    case ConvolutionPass::backward_data: return backward_data(i);
    case ConvolutionPass::backward_weights: return backward_weights(i);
  }
  return 0;
}

std::int64_t ExactSums::forward(std::int64_t i) const {
  const auto& [pass, storage, x, w, y, g, has_bias, accumulate] = problem_;
  const auto [n, oh, ow, o] = indices(y, i);
  const std::int64_t first_channel = o / (w[0] / g.groups) * w[3];
  std::int64_t sum = 0;
  for (std::int64_t kh = 0; kh < w[1]; ++kh) {
    for (std::int64_t kw = 0; kw < w[2]; ++kw) {
      const std::int64_t h = oh * g.stride_h - g.pad_top + kh * g.dilation_h;
      const std::int64_t v = ow * g.stride_w - g.pad_left + kw * g.dilation_w;
      if (h < 0 || h >= x[1] || v < 0 || v >= x[2]) continue;
      for (std::int64_t c = 0; c < w[3]; ++c) {
        sum += operand(0, element(x, n, h, v, first_channel + c)) * operand(1, element(w, o, kh, kw, c));
      }
    }
  }
  return sum;
}

std::int64_t ExactSums::backward_data(std::int64_t i) const {
  const auto& [pass, storage, x, w, y, g, has_bias, accumulate] = problem_;
  const auto [n, h, v, channel] = indices(x, i);
  const std::int64_t per_group = w[0] / g.groups, group = channel / w[3];
  std::int64_t sum = 0;
  for (std::int64_t kh = 0; kh < w[1]; ++kh) {
    for (std::int64_t kw = 0; kw < w[2]; ++kw) {
      const std::int64_t down = h + g.pad_top - kh * g.dilation_h, right = v + g.pad_left - kw * g.dilation_w;
      if (down < 0 || right < 0 || down % g.stride_h != 0 || right % g.stride_w != 0) continue;
      const std::int64_t oh = down / g.stride_h, ow = right / g.stride_w;
      if (oh >= y[1] || ow >= y[2]) continue;
      for (std::int64_t o = group * per_group; o < (group + 1) * per_group; ++o) {
        sum += operand(0, element(y, n, oh, ow, o)) * operand(1, element(w, o, kh, kw, channel % w[3]));
      }
    }
  }
  return sum;
}

std::int64_t ExactSums::backward_weights(std::int64_t i) const {
  const auto& [pass, storage, x, w, y, g, has_bias, accumulate] = problem_;
  const auto [o, kh, kw, c] = indices(w, i);
  const std::int64_t channel = o / (w[0] / g.groups) * w[3] + c;
  std::int64_t sum = 0;
  for (std::int64_t n = 0; n < y[0]; ++n) {
    for (std::int64_t oh = 0; oh < y[1]; ++oh) {
      const std::int64_t h = oh * g.stride_h - g.pad_top + kh * g.dilation_h;
      if (h < 0 || h >= x[1]) continue;
      for (std::int64_t ow = 0; ow < y[2]; ++ow) {
        const std::int64_t v = ow * g.stride_w - g.pad_left + kw * g.dilation_w;
        if (v < 0 || v >= x[2]) continue;
        sum += operand(0, element(x, n, h, v, channel)) * operand(1, element(y, n, oh, ow, o));
      }
    }
  }
  return sum;
}

}  // namespace minim::cuda::cudnn
