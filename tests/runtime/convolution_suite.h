#pragma once

#include "minim/runtime/kernels/convolution.h"
#include "runtime/product_suite.h"

/// What every set of convolution kernels does.
namespace minim::convolution_suite {

using kernel_case::kFloatingTypes;
using product_suite::Gradients;

struct Case {
  std::string name;
  std::int64_t samples, height, width, channels, outputs, kernel_height, kernel_width;
  Conv2dGeometry geometry;

  Shape x() const { return {samples, height, width, channels}; }
  Shape w() const { return {outputs, kernel_height, kernel_width, channels / geometry.groups}; }
  Shape y() const {
    const auto& g = geometry;
    return {samples, conv_output_size(height, kernel_height, g.stride_h, g.pad_top + g.pad_bottom, g.dilation_h),
            conv_output_size(width, kernel_width, g.stride_w, g.pad_left + g.pad_right, g.dilation_w), outputs};
  }
  std::int64_t positions() const { return samples * y()[1] * y()[2]; }
};

inline Conv2dGeometry geometry(std::int64_t stride, std::int64_t pad, std::int64_t groups = 1) {
  return {.stride_h = stride,
          .stride_w = stride,
          .pad_top = pad,
          .pad_left = pad,
          .pad_bottom = pad,
          .pad_right = pad,
          .groups = groups};
}

inline std::vector<Case> cases() {
  return {
      {"3 x 3", 2, 7, 7, 16, 16, 3, 3, geometry(1, 1)},
      {"one channel", 3, 9, 8, 1, 6, 5, 5, geometry(1, 2)},
      {"stem of three channels", 2, 17, 17, 3, 16, 7, 7, geometry(2, 3)},
      {"1 x 1", 2, 5, 5, 20, 24, 1, 1, geometry(1, 0)},
      {"1 x 1, every other pixel", 2, 8, 8, 16, 32, 1, 1, geometry(2, 0)},
      {"dilated",
       1,
       11,
       9,
       8,
       8,
       3,
       3,
       {.pad_top = 2, .pad_left = 3, .pad_bottom = 2, .pad_right = 3, .dilation_h = 2, .dilation_w = 3}},
      {"asymmetric", 2, 6, 7, 5, 7, 2, 3, {.stride_h = 2, .pad_left = 1, .pad_bottom = 1}},
      {"asymmetric, whole vectors", 2, 6, 7, 8, 8, 2, 3, {.stride_h = 2, .pad_left = 1, .pad_bottom = 1}},
      {"wide kernel", 1, 6, 6, 8, 4, 1, 5, {.pad_left = 2, .pad_right = 2}},
      {"1 x 7, unequal strides and padding",
       2,
       9,
       13,
       8,
       6,
       1,
       7,
       {.stride_h = 3, .stride_w = 2, .pad_top = 1, .pad_left = 3, .pad_right = 2}},
      {"two groups", 2, 6, 6, 8, 6, 3, 3, geometry(1, 1, 2)},
      {"depthwise", 2, 9, 9, 12, 12, 3, 3, geometry(2, 1, 12)},
      {"depthwise, two outputs each", 1, 7, 7, 8, 16, 3, 3, geometry(1, 1, 8)},
      {"stride beyond kernel", 2, 10, 10, 4, 8, 2, 2, geometry(3, 0)},
      {"odd channels", 1, 5, 5, 17, 33, 3, 3, geometry(1, 1)},
      {"many samples", 9, 28, 28, 16, 16, 3, 3, geometry(1, 1)},
      {"long sums", 1, 4, 4, 256, 40, 3, 3, geometry(1, 1)},
      {"long sums, 1 x 1", 1, 3, 3, 1024, 40, 1, 1, geometry(1, 0)},
      {"one pixel", 1, 1, 1, 1, 1, 1, 1, geometry(1, 0)},
  };
}

/// One extent, or all samples, missing: there are outputs or gradients all the same, but no products.
inline std::vector<Case> empty_cases() {
  return {
      {"no samples", 0, 7, 7, 16, 12, 3, 3, geometry(1, 1)},
      {"no channels", 2, 7, 7, 0, 12, 3, 3, geometry(1, 1)},
      {"no outputs", 2, 7, 7, 16, 0, 3, 3, geometry(1, 1)},
      {"no rows, but padding", 2, 0, 7, 16, 12, 3, 3, geometry(1, 2)},
      {"no columns, but padding", 2, 7, 0, 16, 12, 3, 3, geometry(1, 2)},
      {"no window", 2, 7, 7, 16, 12, 0, 3, geometry(1, 1)},
      {"window beyond the image", 2, 2, 2, 16, 12, 3, 3, geometry(1, 0)},
      {"nothing at all", 0, 0, 0, 0, 0, 0, 0, geometry(1, 0)},
      {"no channels in groups", 2, 7, 7, 0, 12, 3, 3, geometry(1, 1, 2)},
  };
}

class KernelConvolution : public product_suite::ProductCase {
 protected:
  /// Calls `check(case, dtype, description)` for all of both.
  template <class Check>
  void for_all(const std::vector<Case>& list, const Check& check) {
    for (const Case& c : list) {
      for (const DType dtype : kFloatingTypes) {
        check(c, dtype, c.name + ", " + std::string(name(dtype)));
        if (HasFatalFailure()) return;
      }
    }
  }

  void expect_forward(const Case& c, DType dtype, Activation activation, const std::string& what) {
    expect_forward(c, make_filled(dtype, c.x(), 1), make_filled(dtype, {c.outputs}, 3), activation, what);
  }

  /// With the bias and without.
  void expect_forward(const Case& c, const Tensor& x, const Tensor& bias, Activation activation, const std::string& what) {
    const auto args = [&](const Tensor& of_x, const Tensor& of_w, ConstTensorView of_bias, const Tensor& y) {
      return Conv2dForward{
          .x = of_x, .w = of_w, .bias = of_bias, .y = y, .geometry = c.geometry, .activation = activation, .workspace = {}};
    };
    expect_forward_sums(x, make_filled(x.dtype(), c.w(), 2), bias, c.y(), args, what);
  }

  /// Of sums that are NaN, or minus infinity, too.
  void expect_relu_of_any_sum(const Case& c, DType dtype, const std::string& what) {
    const Tensor x = make_filled(dtype, c.x(), 1), bias = make_filled(dtype, {c.outputs}, 3);
    spoil(x, bias);
    expect_forward(c, x, bias, Activation::relu, what);
  }

  void expect_data_gradient(const Case& c, DType dtype, const std::string& what) {
    const Tensor dy = make_filled(dtype, c.y(), 1), w = make_filled(dtype, c.w(), 2), dx = make_filled(dtype, c.x(), 3);
    run_fast(Conv2dBackwardData{.dy = dy, .w = w, .dx = dx, .geometry = c.geometry, .workspace = {}});
    const Tensor exact = make(DType::fp32, c.x()), magnitude = make(DType::fp32, c.x());
    run_oracle(Conv2dBackwardData{.dy = dy, .w = w, .dx = exact, .geometry = c.geometry, .workspace = {}});
    run_oracle(
        Conv2dBackwardData{.dy = magnitudes(dy), .w = magnitudes(w), .dx = magnitude, .geometry = c.geometry, .workspace = {}});
    expect_sum(dx, c.outputs / c.geometry.groups * c.kernel_height * c.kernel_width, exact, magnitude, what);
  }

  void expect_weight_gradients(const Case& c, DType dtype, bool accumulate, const std::string& what) {
    const Tensor x = make_filled(dtype, c.x(), 1), dy = make_filled(dtype, c.y(), 2);
    const Gradients found{make_filled(dtype, c.w(), 3), make_filled(dtype, {c.outputs}, 4)};
    const Gradients old{exactly(found.dw), exactly(found.dbias)}, exact{exactly(found.dw), exactly(found.dbias)};
    const Gradients magnitude{magnitudes(found.dw), magnitudes(found.dbias)};
    const auto args = [&](const Tensor& of_x, const Tensor& of_dy, const Gradients& gradients) {
      return Conv2dBackwardWeights{.x = of_x,
                                   .dy = of_dy,
                                   .dw = gradients.dw,
                                   .dbias = gradients.dbias,
                                   .geometry = c.geometry,
                                   .accumulate = accumulate,
                                   .workspace = {}};
    };
    run_fast(args(x, dy, found));
    run_oracle(args(x, dy, exact));
    run_oracle(args(magnitudes(x), magnitudes(dy), magnitude));
    const bool rounds_twice = accumulate && GetParam().set == "cuda";
    expect_sum(found.dw, c.positions(), exact.dw, magnitude.dw, rounds_twice ? &old.dw : nullptr, what + ", dw");
    expect_sum(found.dbias, c.positions(), exact.dbias, magnitude.dbias, what + ", dbias");
  }

  void expect_equal_runs(const Case& c, DType dtype, const std::string& what) {
    const Tensor x = make_filled(dtype, c.x(), 1), w = make_filled(dtype, c.w(), 2), dy = make_filled(dtype, c.y(), 3);
    const auto results = [&] {
      const std::vector<Tensor> tensors{make(dtype, c.y()), make(dtype, c.x()), make(dtype, c.w()), make(dtype, {c.outputs})};
      run_fast(Conv2dForward{.x = x, .w = w, .bias = {}, .y = tensors[0], .geometry = c.geometry, .workspace = {}});
      run_fast(Conv2dBackwardData{.dy = dy, .w = w, .dx = tensors[1], .geometry = c.geometry, .workspace = {}});
      run_fast(Conv2dBackwardWeights{
          .x = x, .dy = dy, .dw = tensors[2], .dbias = tensors[3], .geometry = c.geometry, .workspace = {}});
      return tensors;
    };
    const auto first = results();
    expect_equal(results(), first, what);
  }
};

TEST_P(KernelConvolution, ForwardAccumulatesInFp32AndRoundsOnce) {
  for_all(cases(),
          [&](const Case& c, DType dtype, const std::string& what) { expect_forward(c, dtype, Activation::none, what); });
}

TEST_P(KernelConvolution, ReluIsOfCompleteSums) {
  for_all(cases(),
          [&](const Case& c, DType dtype, const std::string& what) { expect_forward(c, dtype, Activation::relu, what); });
}

/// Without groups: cuDNN computes some of these with zeros between the groups, so that a NaN gets from one group to the others.
TEST_P(KernelConvolution, ReluKeepsNaN) {
  for_all(cases(), [&](const Case& c, DType dtype, const std::string& what) {
    if (c.geometry.groups == 1) expect_relu_of_any_sum(c, dtype, what);
  });
}

TEST_P(KernelConvolution, BackwardDataAccumulatesInFp32AndRoundsOnce) {
  for_all(cases(), [&](const Case& c, DType dtype, const std::string& what) { expect_data_gradient(c, dtype, what); });
}

TEST_P(KernelConvolution, WeightGradientsAreSummedInFp32AndRoundedOnce) {
  for_all(cases(), [&](const Case& c, DType dtype, const std::string& what) { expect_weight_gradients(c, dtype, false, what); });
}

TEST_P(KernelConvolution, OldWeightGradientsAreAdded) {
  for_all(cases(), [&](const Case& c, DType dtype, const std::string& what) { expect_weight_gradients(c, dtype, true, what); });
}

TEST_P(KernelConvolution, WithoutProductsOutputsAreTheBiasAndGradientsWhatTheOracleSays) {
  for_all(empty_cases(), [&](const Case& c, DType dtype, const std::string& what) {
    expect_forward(c, dtype, Activation::none, what);
    expect_relu_of_any_sum(c, dtype, what + ", activated");
    expect_data_gradient(c, dtype, what);
    expect_weight_gradients(c, dtype, false, what);
    expect_weight_gradients(c, dtype, true, what + ", accumulating");
  });
}

TEST_P(KernelConvolution, WeightGradientsDoWithoutABias) {
  const Case c = cases().front();
  const Tensor x = make_filled(DType::fp16, c.x(), 1), dy = make_filled(DType::fp16, c.y(), 2);
  const Tensor alone = make(DType::fp16, c.w()), beside = make(DType::fp16, c.w()), dbias = make(DType::fp16, {c.outputs});
  run_fast(Conv2dBackwardWeights{.x = x, .dy = dy, .dw = alone, .dbias = {}, .geometry = c.geometry, .workspace = {}});
  run_fast(Conv2dBackwardWeights{.x = x, .dy = dy, .dw = beside, .dbias = dbias, .geometry = c.geometry, .workspace = {}});
  kernel_case::expect_same(alone, beside, "dw");
}

}  // namespace minim::convolution_suite
