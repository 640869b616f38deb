#pragma once

#include "minim/runtime/kernels/local_response_norm.h"
#include "runtime/kernel_case.h"

/// What every set of kernels for local response normalisation does.
namespace minim::local_response_norm_suite {

using kernel_case::kUnit;

/// A window of one channel, the usual one, and the widest; alpha so large that the norm matters.
inline const ResponseWindow kWindows[] = {
    {.size = 1, .alpha = 0.5}, {.alpha = 0.5}, {.size = 31, .alpha = 2, .beta = 0.5, .k = 2}};
/// Besides the usual ones: more channels than are normalised together.
inline constexpr std::int64_t kChannelCounts[] = {0, 1, 3, 17, 64, 100, 300};
inline constexpr double kLargest = 3;  ///< magnitude of x; gradients are at most 1

/// What of the results of kernels of FP32 arithmetic is known.
struct Errors {
  explicit Errors(const ResponseWindow& window) {
    const double size = static_cast<double>(window.size);
    const double largest_norm = window.k + window.alpha * kLargest * kLargest;
    // A norm is that many additions and products of positive terms. Its power is Highway's exponential of its logarithm, 1 and 4
    // units in the last place (of up to 2 kUnit) from the truth, or CUDA's powf, within 8.
    const double norm = (size + 5) * kUnit;
    power = window.beta * (norm + std::log(largest_norm) * 9 * kUnit) + 16 * kUnit;
    const double term = power + norm + 4 * kUnit;
    forward = kLargest * std::pow(window.k, -window.beta) * (power + 2 * kUnit);
    const double others =
        2 * window.alpha * window.beta / size * kLargest * size * kLargest * std::pow(window.k, -window.beta - 1);
    backward = std::pow(window.k, -window.beta) * (power + 2 * kUnit) + others * (term + (size + 4) * kUnit);
  }
  double power = 0;  ///< relative
  double forward = 0;
  double backward = 0;
};

class KernelLocalResponseNorm : public kernel_case::KernelCase {
 protected:
  /// Calls `check(dtype, window, shape, description)` for every type, window and number of channels.
  template <class Check>
  void for_cases(const Check& check) {
    for (const DType dtype : kernel_case::kFloatingTypes) {
      for (const ResponseWindow& window : kWindows) {
        for (const std::int64_t channels : kChannelCounts) {
          const Shape shape{2, 3, 2, channels};
          check(dtype, window, shape, std::string(name(dtype)) + " " + shape.to_string() + " in " + std::to_string(window.size));
        }
      }
    }
  }

  /// With infinity and NaN, far from each other, where `special`.
  Tensor make_x(DType dtype, const Shape& shape, bool special) {
    const Tensor x = make_filled(dtype, shape, 1, -kLargest, kLargest);
    if (special && x.elements() > 0) {
      kernel_case::set_value(x, x.elements() / 3, NAN);
      kernel_case::set_value(x, 2 * x.elements() / 3, INFINITY);
    }
    return x;
  }
};

TEST_P(KernelLocalResponseNorm, IsWithinItsBound) {
  for_cases([&](DType dtype, const ResponseWindow& window, const Shape& shape, const std::string& what) {
    for (const bool special : {false, true}) {
      const Tensor x = make_x(dtype, shape, special), y = make(dtype, shape), wanted = make(DType::fp32, shape);
      run_fast(LocalResponseNormForward{.x = x, .y = y, .window = window});
      run_oracle(LocalResponseNormForward{.x = x, .y = wanted, .window = window});
      kernel_case::expect_rounded_once(
          y, wanted, [&](auto) { return Errors(window).forward; }, what);
    }
  });
}

TEST_P(KernelLocalResponseNorm, GradientIsWithinItsBound) {
  for_cases([&](DType dtype, const ResponseWindow& window, const Shape& shape, const std::string& what) {
    for (const bool special : {false, true}) {
      const Tensor x = make_x(dtype, shape, special), dy = make_filled(dtype, shape, 2);
      const Tensor dx = make(dtype, shape), wanted = make(DType::fp32, shape);
      run_fast(LocalResponseNormBackward{.x = x, .dy = dy, .dx = dx, .window = window});
      run_oracle(LocalResponseNormBackward{.x = x, .dy = dy, .dx = wanted, .window = window});
      kernel_case::expect_rounded_once(
          dx, wanted, [&](auto) { return Errors(window).backward; }, what);
    }
  });
}

}  // namespace minim::local_response_norm_suite
