#include "minim/runtime/kernels/convolution.h"

#include "runtime/reference/reference_case.h"

namespace minim {
namespace {

using Floats = std::vector<float>;

class ReferenceConvolution : public ReferenceCase {
 protected:
  /// A convolution with everything that belongs to it.
  struct Case {
    Shape x, w;
    Conv2dGeometry geometry;

    Shape y() const {
      const auto& g = geometry;
      return {x[0], conv_output_size(x[1], w[1], g.stride_h, g.pad_top + g.pad_bottom, g.dilation_h),
              conv_output_size(x[2], w[2], g.stride_w, g.pad_left + g.pad_right, g.dilation_w), w[0]};
    }
  };

  Floats forward(const Case& c, const Floats& x, const Floats& w) {
    const Tensor y = untouched(c.y());
    run(Conv2dForward{.x = tensor(c.x, x), .w = tensor(c.w, w), .y = y, .geometry = c.geometry});
    return values(y);
  }
};

const Conv2dGeometry kPlain{};

TEST_F(ReferenceConvolution, CrossCorrelates) {
  const Case c{{1, 3, 3, 1}, {1, 2, 2, 1}, kPlain};
  EXPECT_EQ(forward(c, {1, 2, 3, 4, 5, 6, 7, 8, 9}, {1, 10, 100, 1000}), (Floats{5421, 6532, 8754, 9865}));
}

TEST_F(ReferenceConvolution, SumsOverChannelsOfTheGroup) {
  const Case one_group{{1, 1, 1, 4}, {2, 1, 1, 4}, kPlain};
  EXPECT_EQ(forward(one_group, {1, 2, 3, 4}, {1, 10, 100, 1000, 1, 1, 1, 1}), (Floats{4321, 10}));
  const Case two_groups{{1, 1, 1, 4}, {2, 1, 1, 2}, {.groups = 2}};
  EXPECT_EQ(forward(two_groups, {1, 2, 3, 4}, {1, 10, 1, 10}), (Floats{21, 43}));
  const Case depthwise{{1, 1, 1, 2}, {4, 1, 1, 1}, {.groups = 2}};
  EXPECT_EQ(forward(depthwise, {3, 5}, {1, 10, 100, 1000}), (Floats{3, 30, 500, 5000}));
}

TEST_F(ReferenceConvolution, PadsEachSideByItself) {
  const Floats x{1, 2, 3}, w{1, 10};
  EXPECT_EQ(forward({{1, 1, 3, 1}, {1, 1, 2, 1}, {.pad_left = 1}}, x, w), (Floats{10, 21, 32}));
  EXPECT_EQ(forward({{1, 1, 3, 1}, {1, 1, 2, 1}, {.pad_right = 1}}, x, w), (Floats{21, 32, 3}));
  EXPECT_EQ(forward({{1, 3, 1, 1}, {1, 2, 1, 1}, {.pad_top = 1}}, x, w), (Floats{10, 21, 32}));
  EXPECT_EQ(forward({{1, 3, 1, 1}, {1, 2, 1, 1}, {.pad_bottom = 1}}, x, w), (Floats{21, 32, 3}));
}

TEST_F(ReferenceConvolution, StridesAndDilates) {
  const Floats x{1, 2, 3, 4, 5}, w{1, 10};
  EXPECT_EQ(forward({{1, 1, 5, 1}, {1, 1, 2, 1}, {.stride_w = 2}}, x, w), (Floats{21, 43}));
  EXPECT_EQ(forward({{1, 1, 5, 1}, {1, 1, 2, 1}, {.dilation_w = 2}}, x, w), (Floats{31, 42, 53}));
  EXPECT_EQ(forward({{1, 5, 1, 1}, {1, 2, 1, 1}, {.stride_h = 2}}, x, w), (Floats{21, 43}));
  EXPECT_EQ(forward({{1, 5, 1, 1}, {1, 2, 1, 1}, {.dilation_h = 2}}, x, w), (Floats{31, 42, 53}));
}

TEST_F(ReferenceConvolution, AddsTheBiasOfEachOutputChannel) {
  const Tensor y = untouched({1, 1, 2, 2});
  run(Conv2dForward{
      .x = tensor({1, 1, 2, 1}, {1, 2}), .w = tensor({2, 1, 1, 1}, {1, -1}), .bias = tensor({2}, {10, 20}), .y = y});
  EXPECT_EQ(values(y), (Floats{11, 19, 12, 18}));
}

TEST_F(ReferenceConvolution, AppliesTheActivationToWhatItStores) {
  const Tensor y = untouched({1, 1, 2, 2}), x = tensor({1, 1, 2, 1}, {1, NAN}), w = tensor({2, 1, 1, 1}, {1, -1});
  run(Conv2dForward{.x = x, .w = w, .y = y, .activation = Activation::relu});
  EXPECT_EQ(values(y)[0], 1);
  EXPECT_EQ(values(y)[1], 0);
  EXPECT_TRUE(std::isnan(values(y)[2]) && std::isnan(values(y)[3]));
  run(Conv2dForward{.x = x, .w = w, .bias = tensor({2}, {-2, 3}), .y = y, .activation = Activation::relu});
  EXPECT_EQ(values(y)[0], 0);
  EXPECT_EQ(values(y)[1], 2);
}

TEST_F(ReferenceConvolution, HasTheGradientsThatDifferencesShow) {
  const Case cases[] = {
      {{2, 3, 4, 2}, {3, 2, 3, 2}, kPlain},
      {{1, 5, 4, 2}, {2, 3, 2, 2}, {.stride_h = 2, .stride_w = 3, .pad_top = 1, .pad_left = 2, .pad_right = 1}},
      {{1, 6, 5, 1}, {2, 2, 2, 1}, {.pad_bottom = 2, .dilation_h = 3, .dilation_w = 2}},
      {{2, 3, 3, 4}, {6, 2, 2, 2}, {.stride_h = 2, .pad_left = 1, .groups = 2}},
  };
  for (const Case& c : cases) {
    const Tensor x = random(c.x, 1), w = random(c.w, 2), bias = random({c.w[0]}, 3), dy = random(c.y(), 4), y = untouched(c.y());
    const Tensor dx = untouched(c.x), dw = untouched(c.w), dbias = untouched({c.w[0]});
    run(Conv2dBackwardData{.dy = dy, .w = w, .dx = dx, .geometry = c.geometry});
    run(Conv2dBackwardWeights{.x = x, .dy = dy, .dw = dw, .dbias = dbias, .geometry = c.geometry});
    const auto loss = [&] {
      run(Conv2dForward{.x = x, .w = w, .bias = bias, .y = y, .geometry = c.geometry});
      return dot(y, dy);
    };
    expect_gradient(x, dx, loss);
    expect_gradient(w, dw, loss);
    expect_gradient(bias, dbias, loss);
  }
}

TEST_F(ReferenceConvolution, AddsToTheOldGradientBeforeRounding) {
  // 2048 + (1 + 2^-12) rounds up to 2050; 1 + 2^-12 rounded to 1 first would leave a tie that goes down to 2048.
  const Tensor x = tensor({2, 1, 1, 1}, {1, 0x1p-12F}, DType::fp16), dy = tensor({2, 1, 1, 1}, {1, 1}, DType::fp16);
  const Tensor dw = tensor({1, 1, 1, 1}, {2048}, DType::fp16), dbias = tensor({1}, {3}, DType::fp16);
  run(Conv2dBackwardWeights{.x = x, .dy = dy, .dw = dw, .dbias = dbias, .accumulate = true});
  EXPECT_EQ(values(dw), Floats{2050});
  EXPECT_EQ(values(dbias), Floats{5});
  run(Conv2dBackwardWeights{.x = x, .dy = dy, .dw = dw, .dbias = dbias});
  EXPECT_EQ(values(dw), Floats{1}) << "without `accumulate` the old value is gone";
  EXPECT_EQ(values(dbias), Floats{2});
}

TEST_F(ReferenceConvolution, HasGradientsOfZeroWithoutSamples) {
  const Tensor x = untouched({0, 3, 3, 1}), y = untouched({0, 2, 2, 1}), w = tensor({1, 2, 2, 1}, {1, 2, 3, 4});
  const Tensor dw = untouched({1, 2, 2, 1});
  run(Conv2dForward{.x = x, .w = w, .y = y});
  run(Conv2dBackwardData{.dy = y, .w = w, .dx = x});
  run(Conv2dBackwardWeights{.x = x, .dy = y, .dw = dw});
  EXPECT_EQ(values(dw), Floats(4, 0));
  run(Conv2dBackwardWeights{.x = x, .dy = y, .dw = w, .accumulate = true});
  EXPECT_EQ(values(w), (Floats{1, 2, 3, 4}));
}

TEST_F(ReferenceConvolution, RoundsOnlyWhatItStores) {
  const Case c{{2, 4, 4, 3}, {5, 3, 3, 3}, {.pad_top = 1, .pad_left = 1}};
  const auto results = [&](DType dtype) {
    const Tensor x = random(c.x, 1, dtype), w = random(c.w, 2, dtype), dy = random(c.y(), 3, dtype);
    const Tensor y = untouched(c.y(), dtype), dx = untouched(c.x, dtype), dw = untouched(c.w, dtype);
    run(Conv2dForward{.x = x, .w = w, .y = y, .geometry = c.geometry});
    run(Conv2dBackwardData{.dy = dy, .w = w, .dx = dx, .geometry = c.geometry});
    run(Conv2dBackwardWeights{.x = x, .dy = dy, .dw = dw, .geometry = c.geometry});
    return std::vector{values(y), values(dx), values(dw)};
  };
  const auto exact = results(DType::fp32);
  for (const DType dtype : kLowPrecision) {
    const auto found = results(dtype);
    for (std::size_t i = 0; i < exact.size(); ++i)
      EXPECT_EQ(found[i], rounded(exact[i], dtype)) << name(dtype) << ", result " << i;
  }
}

TEST(ConvOutputSize, CountsTheWindowsThatFit) {
  EXPECT_EQ(conv_output_size(224, 7, 2, 6, 1), 112);
  EXPECT_EQ(conv_output_size(5, 3, 1, 0, 2), 1);
  EXPECT_EQ(conv_output_size(2, 3, 1, 0, 1), 0) << "a window that does not fit";
  EXPECT_EQ(conv_output_size(2, 3, 2, 0, 1), 0) << "nor does one with a stride";
}

}  // namespace
}  // namespace minim
