#pragma once

#include "minim/runtime/kernels/bias.h"
#include "runtime/kernel_case.h"

/// What every set of kernels for a bias of its own does.
namespace minim::bias_suite {

class KernelBias : public kernel_case::KernelCase {
 protected:
  /// Calls `check(dtype, shape, what)`: few channels, whole packs, and more than are converted at a time.
  template <class Check>
  void for_cases(const Check& check) {
    for (const DType dtype : kernel_case::kFloatingTypes) {
      for (const std::int64_t channels : {1, 3, 16, 100, 1500}) {
        for (const std::int64_t samples : {0, 1, 3}) {
          const Shape shape{samples, channels < 100 ? 12 : 3, 7, channels};
          check(dtype, shape, std::string(name(dtype)) + " " + shape.to_string());
        }
      }
    }
  }
};

TEST_P(KernelBias, IsAddedToEveryPosition) {
  for_cases([&](DType dtype, const Shape& shape, const std::string& what) {
    const Tensor bias = make_filled(dtype, {shape[-1]}, 1), y = make_filled(dtype, shape, 2),
                 wanted = make_filled(dtype, shape, 2);
    run_fast(AddBias{.bias = bias, .y = y});
    run_oracle(AddBias{.bias = bias, .y = wanted});
    kernel_case::expect_same(y, wanted, what);
  });
}

TEST_P(KernelBias, GradientIsASumInFp32) {
  for_cases([&](DType dtype, const Shape& shape, const std::string& what) {
    const Tensor dy = make_filled(dtype, shape, 1);
    for (const bool accumulate : {false, true}) {
      const Tensor old = make_filled(dtype, {shape[-1]}, 2), dbias = make_filled(dtype, {shape[-1]}, 2);
      const Tensor wanted = make(DType::fp32, {shape[-1]});
      for (std::int64_t c = 0; c < shape[-1]; ++c) kernel_case::set_value(wanted, c, kernel_case::value_at(old, c));
      run_fast(BiasGradient{.dy = dy, .dbias = dbias, .accumulate = accumulate, .workspace = {}});
      run_oracle(BiasGradient{.dy = dy, .dbias = wanted, .accumulate = accumulate, .workspace = {}});
      const auto terms = static_cast<double>(shape.elements() / shape[-1] + 1);  // of magnitude 1 at most
      kernel_case::expect_rounded_once(
          dbias, wanted, [&](auto) { return terms * terms * kernel_case::kUnit; }, what);
    }
  });
}

}  // namespace minim::bias_suite
