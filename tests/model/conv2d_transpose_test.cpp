#include <gtest/gtest.h>

#include "model/operation_cases.h"

namespace minim::test {
namespace {

using Values = std::vector<Value>;

struct Transposed {
  std::string name;
  Shape x;  ///< with Shape::kBatch
  std::int64_t channels;
  Conv2dTransposeOptions options;
  std::int64_t height, width;  ///< of the output, as PyTorch's ConvTranspose2d has it
};
std::ostream& operator<<(std::ostream& out, const Transposed& c) { return out << c.name; }

std::vector<Transposed> cases() {
  constexpr std::int64_t kN = Shape::kBatch;
  const auto padded = [](std::int64_t stride, std::int64_t pad) {
    return Conv2dGeometry{
        .stride_h = stride, .stride_w = stride, .pad_top = pad, .pad_left = pad, .pad_bottom = pad, .pad_right = pad};
  };
  return {
      {"FromOnePosition", Shape{kN, 1, 1, 5}, 3, {.kernel_h = 4, .kernel_w = 4}, 4, 4},
      {"Doubling", Shape{kN, 4, 5, 3}, 2, {.kernel_h = 4, .kernel_w = 4, .geometry = padded(2, 1), .bias = true}, 8, 10},
      {"DoublingByOutputPadding",
       Shape{kN, 4, 4, 3},
       2,
       {.kernel_h = 3, .kernel_w = 3, .geometry = padded(2, 1), .output_padding_h = 1, .output_padding_w = 1},
       8,
       8},
      {"Dilated",
       Shape{kN, 3, 4, 2},
       3,
       {.kernel_h = 3, .kernel_w = 2, .geometry = {.stride_w = 2, .dilation_h = 2, .dilation_w = 3}, .bias = true},
       7,
       10},
      {"Uneven",
       Shape{kN, 3, 2, 2},
       4,
       {.kernel_h = 1, .kernel_w = 7, .geometry = {.stride_h = 3, .stride_w = 1, .pad_left = 3, .pad_bottom = 1, .pad_right = 2}},
       6,
       3},
      {"Grouped", Shape{kN, 3, 3, 4}, 6, {.kernel_h = 3, .kernel_w = 3, .geometry = {.groups = 2}, .bias = true}, 5, 5},
  };
}

constexpr std::int64_t kSamples = 2;

/// Every element of the input adds itself times the kernel to the output.
std::vector<float> scattered(const Transposed& c, const std::vector<float>& x, const std::vector<float>& w,
                             const std::vector<float>& bias) {
  const Conv2dGeometry& g = c.options.geometry;
  const std::int64_t inputs = c.x[3], of_group = inputs / g.groups, outputs = c.channels / g.groups;
  std::vector<float> y(static_cast<std::size_t>(kSamples * c.height * c.width * c.channels));
  const auto at = [&](std::int64_t n, std::int64_t h, std::int64_t v, std::int64_t o) -> float* {
    if (h < 0 || h >= c.height || v < 0 || v >= c.width) return nullptr;
    return &y[static_cast<std::size_t>(((n * c.height + h) * c.width + v) * c.channels + o)];
  };
  std::size_t from = 0;
  for (std::int64_t n = 0; n < kSamples; ++n) {
    for (std::int64_t h = 0; h < c.x[1]; ++h) {
      for (std::int64_t v = 0; v < c.x[2]; ++v) {
        for (std::int64_t i = 0; i < inputs; ++i, ++from) {
          auto weight = static_cast<std::size_t>(i * c.options.kernel_h * c.options.kernel_w * outputs);
          for (std::int64_t kh = 0; kh < c.options.kernel_h; ++kh) {
            for (std::int64_t kw = 0; kw < c.options.kernel_w; ++kw) {
              for (std::int64_t o = 0; o < outputs; ++o, ++weight) {
                float* const to = at(n, h * g.stride_h - g.pad_top + kh * g.dilation_h,
                                     v * g.stride_w - g.pad_left + kw * g.dilation_w, i / of_group * outputs + o);
                if (to != nullptr) *to += x[from] * w[weight];
              }
            }
          }
        }
      }
    }
  }
  for (std::size_t e = 0; e < y.size() && !bias.empty(); ++e) y[e] += bias[e % bias.size()];
  return y;
}

class TransposedConvolution : public testing::TestWithParam<Transposed> {};

/// All numbers are multiples of 2^-7 below 1: FP32 holds their sums of products exactly, in any order.
TEST_P(TransposedConvolution, IsWhatScatteringGives) {
  const Transposed& c = GetParam();
  const OperationCase operation{c.name, {c.x}, kSamples, [&](Graph& g, const Values& v) {
                                  const Value y = g.conv2d_transpose("op", v[0], c.channels, c.options);
                                  EXPECT_EQ(g.spec(y).shape, (Shape{Shape::kBatch, c.height, c.width, c.channels}));
                                  return y;
                                }};
  for (const auto& backend : {make_reference_backend(), make_cpu_backend(1)}) {
    add_test_kernels(*backend);
    RunningCase running(operation, *backend, Precision::fp32);
    running.forward();
    const auto parameter = [&](std::size_t i) { return floats(running.model().parameters().at(i)->weight); };
    const std::vector<float> bias = c.options.bias ? parameter(2) : std::vector<float>{};
    EXPECT_EQ(running.y(), scattered(c, parameter(0), parameter(1), bias)) << backend->name();
  }
}

INSTANTIATE_TEST_SUITE_P(Of, TransposedConvolution, testing::ValuesIn(cases()),
                         [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace minim::test
