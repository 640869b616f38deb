#pragma once

#include "minim/runtime/kernels/linear.h"
#include "runtime/product_suite.h"

/// What every set of kernels for linear layers does.
namespace minim::linear_suite {

using kernel_case::kFloatingTypes;
using product_suite::Gradients;

struct Case {
  std::int64_t samples, inputs, outputs;

  Shape x() const { return {samples, inputs}; }
  Shape w() const { return {outputs, inputs}; }
  Shape y() const { return {samples, outputs}; }
};

/// One tile of the CPU's; several along the rows and columns of a result; three along the sums of each pass in turn.
inline constexpr Case kCases[] = {{1, 1, 1},      {3, 5, 7},    {64, 84, 10},    {17, 700, 300},  {300, 33, 20},
                                  {270, 40, 530}, {20, 3, 600}, {17, 1450, 256}, {17, 256, 1450}, {1450, 256, 17}};

/// One extent missing, or all: there are outputs or gradients all the same, but no products.
inline constexpr Case kEmptyCases[] = {{0, 5, 7}, {3, 0, 7}, {3, 5, 0}, {0, 0, 7}, {3, 0, 0}, {0, 0, 0}};

class KernelLinear : public product_suite::ProductCase {
 protected:
  template <class Check>
  void for_all(std::span<const Case> list, const Check& check) {
    for (const Case& c : list) {
      for (const DType dtype : kFloatingTypes) {
        check(c, dtype,
              c.y().to_string() + " = " + c.x().to_string() + " x " + c.w().to_string() + ", " + std::string(name(dtype)));
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
      return LinearForward{.x = of_x, .w = of_w, .bias = of_bias, .y = y, .activation = activation, .workspace = {}};
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
    run_fast(LinearBackwardData{.dy = dy, .w = w, .dx = dx, .workspace = {}});
    const Tensor exact = make(DType::fp32, c.x()), magnitude = make(DType::fp32, c.x());
    run_oracle(LinearBackwardData{.dy = dy, .w = w, .dx = exact, .workspace = {}});
    run_oracle(LinearBackwardData{.dy = magnitudes(dy), .w = magnitudes(w), .dx = magnitude, .workspace = {}});
    expect_sum(dx, c.outputs, exact, magnitude, what);
  }

  void expect_weight_gradients(const Case& c, DType dtype, bool accumulate, const std::string& what) {
    const Tensor x = make_filled(dtype, c.x(), 1), dy = make_filled(dtype, c.y(), 2);
    const Gradients found{make_filled(dtype, c.w(), 3), make_filled(dtype, {c.outputs}, 4)};
    const Gradients exact{exactly(found.dw), exactly(found.dbias)};
    const Gradients magnitude{magnitudes(found.dw), magnitudes(found.dbias)};
    const auto args = [&](const Tensor& of_x, const Tensor& of_dy, const Gradients& gradients) {
      return LinearBackwardWeights{
          .x = of_x, .dy = of_dy, .dw = gradients.dw, .dbias = gradients.dbias, .accumulate = accumulate, .workspace = {}};
    };
    run_fast(args(x, dy, found));
    run_oracle(args(x, dy, exact));
    run_oracle(args(magnitudes(x), magnitudes(dy), magnitude));
    expect_sum(found.dw, c.samples, exact.dw, magnitude.dw, what + ", dw");
    expect_sum(found.dbias, c.samples, exact.dbias, magnitude.dbias, what + ", dbias");
  }

  void expect_equal_runs(const Case& c, DType dtype, const std::string& what) {
    const Tensor x = make_filled(dtype, c.x(), 1), w = make_filled(dtype, c.w(), 2), dy = make_filled(dtype, c.y(), 3);
    const auto results = [&] {
      const std::vector<Tensor> tensors{make(dtype, c.y()), make(dtype, c.x()), make(dtype, c.w()), make(dtype, {c.outputs})};
      run_fast(LinearForward{.x = x, .w = w, .bias = {}, .y = tensors[0], .workspace = {}});
      run_fast(LinearBackwardData{.dy = dy, .w = w, .dx = tensors[1], .workspace = {}});
      run_fast(LinearBackwardWeights{.x = x, .dy = dy, .dw = tensors[2], .dbias = tensors[3], .workspace = {}});
      return tensors;
    };
    const auto first = results();
    expect_equal(results(), first, what);
  }
};

TEST_P(KernelLinear, ForwardAccumulatesInFp32AndRoundsOnce) {
  for_all(kCases, [&](const Case& c, DType dtype, const std::string& what) { expect_forward(c, dtype, Activation::none, what); });
}

TEST_P(KernelLinear, ReluIsOfCompleteSums) {
  for_all(kCases, [&](const Case& c, DType dtype, const std::string& what) { expect_forward(c, dtype, Activation::relu, what); });
}

TEST_P(KernelLinear, ReluKeepsNaN) {
  for_all(kCases, [&](const Case& c, DType dtype, const std::string& what) { expect_relu_of_any_sum(c, dtype, what); });
}

TEST_P(KernelLinear, BackwardDataAccumulatesInFp32AndRoundsOnce) {
  for_all(kCases, [&](const Case& c, DType dtype, const std::string& what) { expect_data_gradient(c, dtype, what); });
}

TEST_P(KernelLinear, GradientsAreSummedInFp32AndRoundedOnce) {
  for_all(kCases, [&](const Case& c, DType dtype, const std::string& what) { expect_weight_gradients(c, dtype, false, what); });
}

TEST_P(KernelLinear, OldGradientsAreAddedBeforeRounding) {
  for_all(kCases, [&](const Case& c, DType dtype, const std::string& what) { expect_weight_gradients(c, dtype, true, what); });
}

TEST_P(KernelLinear, WithoutProductsOutputsAreTheBiasAndGradientsWhatTheOracleSays) {
  for_all(kEmptyCases, [&](const Case& c, DType dtype, const std::string& what) {
    expect_forward(c, dtype, Activation::none, what);
    expect_relu_of_any_sum(c, dtype, what + ", activated");
    expect_data_gradient(c, dtype, what);
    expect_weight_gradients(c, dtype, false, what);
    expect_weight_gradients(c, dtype, true, what + ", accumulating");
  });
}

}  // namespace minim::linear_suite
