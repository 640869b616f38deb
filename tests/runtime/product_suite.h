#pragma once

#include <vector>

#include "runtime/kernel_case.h"

/// What the tests of kernels that sum products share.
namespace minim::product_suite {

using kernel_case::kFloatingTypes;
using kernel_case::value_at;

/// Largest error of a sum of `terms` products in FP32, added in any order, whose magnitudes sum to `magnitudes` (Higham,
/// "Accuracy and Stability of Numerical Algorithms", section 3.1). A product may be rounded, and a bias or old value added.
inline double sum_error(std::int64_t terms, double magnitudes) {
  const double n_u = static_cast<double>(terms + 2) * kernel_case::kUnit;
  return n_u / (1 - n_u) * magnitudes;
}

/// A test that runs the kernels of one set.
class ProductCase : public kernel_case::KernelCase {
 protected:
  /// An FP32 tensor with the values of `tensor`, or their magnitudes.
  Tensor exactly(const Tensor& tensor) {
    return mapped(tensor, [](double value) { return value; });
  }
  Tensor magnitudes(const Tensor& tensor) {
    return mapped(tensor, [](double value) { return std::abs(value); });
  }

  /// Both have the same bits, except that any NaN equals any other.
  static void expect_equal(const std::vector<Tensor>& found, const std::vector<Tensor>& wanted, const std::string& what) {
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      kernel_case::expect_same(found[i], wanted[i], what + ", result " + std::to_string(i));
    }
  }

  /// Every element of `found` is `exact`'s, summed in FP32 over `terms` products of these magnitudes, rounded once.
  static void expect_sum(const Tensor& found, std::int64_t terms, const Tensor& exact, const Tensor& magnitudes,
                         const std::string& what) {
    expect_sum(found, terms, exact, magnitudes, nullptr, what);
  }
  /// The same, but rounded before `addend` is added, too. Null: it is not.
  static void expect_sum(const Tensor& found, std::int64_t terms, const Tensor& exact, const Tensor& magnitudes,
                         const Tensor* addend, const std::string& what) {
    const auto error = [&](std::int64_t i) {
      const double of_sum = sum_error(terms, value_at(magnitudes, i));
      if (addend == nullptr) return of_sum;
      const double sum = std::abs(value_at(exact, i) - value_at(*addend, i));
      return of_sum + kernel_case::half_ulp(found.dtype(), sum + of_sum);
    };
    kernel_case::expect_rounded_once(found, exact, error, what);
  }

  /// A forward pass with the bias and without; `args(x, w, bias, y)` are its arguments.
  template <class MakeArgs>
  void expect_forward_sums(const Tensor& x, const Tensor& w, const Tensor& bias, const Shape& shape, const MakeArgs& args,
                           const std::string& what) {
    for (const bool has_bias : {false, true}) {
      const auto optional = [&](const Tensor& tensor) { return has_bias ? ConstTensorView(tensor) : ConstTensorView(); };
      const Tensor y = make_filled(x.dtype(), shape, 4), exact = make(DType::fp32, shape), magnitude = make(DType::fp32, shape);
      run_fast(args(x, w, optional(bias), y));
      run_oracle(args(x, w, optional(bias), exact));
      const Tensor bias_magnitudes = magnitudes(bias);
      run_oracle(args(magnitudes(x), magnitudes(w), optional(bias_magnitudes), magnitude));
      expect_sum(y, w.shape().elements_per_sample(), exact, magnitude, what + (has_bias ? ", with a bias" : ""));
    }
  }
  /// Has some sums become NaN, and one minus infinity.
  static void spoil(const Tensor& x, const Tensor& bias) {
    if (x.elements() > 0) kernel_case::set_value(x, 0, NAN);
    if (bias.elements() > 0) kernel_case::set_value(bias, 0, NAN);
    if (bias.elements() > 1) kernel_case::set_value(bias, 1, -INFINITY);
  }

 private:
  template <class Map>
  Tensor mapped(const Tensor& tensor, const Map& map) {
    Tensor result = make(DType::fp32, tensor.shape());
    for (std::int64_t i = 0; i < result.elements(); ++i) kernel_case::set_value(result, i, map(value_at(tensor, i)));
    return result;
  }
};

/// The results of a pass that writes two gradients.
struct Gradients {
  Tensor dw, dbias;
};

}  // namespace minim::product_suite
