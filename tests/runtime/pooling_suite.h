#pragma once

#include "minim/runtime/kernels/pooling.h"
#include "runtime/kernel_case.h"

/// What every set of pooling kernels does.
namespace minim::pooling_suite {

using kernel_case::expect_rounded_once;
using kernel_case::expect_same;
using kernel_case::kUnit;

struct Case {
  PoolGeometry geometry;
  Shape x;  ///< without channels: [N, H, W]
};

inline std::int64_t output_size(std::int64_t size, std::int64_t window, std::int64_t stride, std::int64_t padding) {
  return (size + padding - window) / stride + 1;
}

inline const Case kCases[] = {
    {.geometry = {}, .x = {2, 6, 8}},
    {.geometry = {.window_h = 3, .window_w = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1}, .x = {2, 7, 9}},
    {.geometry = {.window_h = 3,
                  .window_w = 2,
                  .stride_h = 1,
                  .stride_w = 1,
                  .pad_top = 2,
                  .pad_left = 0,
                  .pad_bottom = 0,
                  .pad_right = 1},
     .x = {1, 5, 4}},
    {.geometry = {.window_h = 2, .window_w = 1, .stride_h = 3, .stride_w = 4}, .x = {1, 8, 9}},  // gaps between windows
    {.geometry = {}, .x = {0, 4, 4}},
};
/// Windows that cover one position, and elements of a window, in the cases above.
inline constexpr double kTerms = 9;

class KernelPooling : public kernel_case::KernelCase {
 protected:
  /// Calls `check(dtype, geometry, shape of x, shape of y, description)` for every type, case and channel count.
  template <class Check>
  void for_cases(const Check& check) {
    for (const DType dtype : kernel_case::kFloatingTypes) {
      for (const Case& c : kCases) {
        for (const std::int64_t channels : kernel_case::kChannelCounts) {
          const PoolGeometry& g = c.geometry;
          const Shape x{c.x[0], c.x[1], c.x[2], channels};
          const Shape y{c.x[0], output_size(c.x[1], g.window_h, g.stride_h, g.pad_top + g.pad_bottom),
                        output_size(c.x[2], g.window_w, g.stride_w, g.pad_left + g.pad_right), channels};
          check(dtype, g, x, y, std::string(name(dtype)) + " " + x.to_string() + " to " + y.to_string());
        }
      }
    }
  }

  Tensor make_zero_bytes(const Shape& shape) {
    Tensor tensor = make(DType::uint8, shape);
    for (auto& byte : tensor.span<std::uint8_t>()) byte = 0;
    return tensor;
  }
};

inline void expect_same_positions(const Tensor& found, const Tensor& wanted, const std::string& what) {
  for (std::size_t i = 0; i < found.view().span<std::uint8_t>().size(); ++i) {
    ASSERT_EQ(found.view().span<std::uint8_t>()[i], wanted.view().span<std::uint8_t>()[i]) << what << ", element " << i;
  }
}

TEST_P(KernelPooling, MaxEqualsTheOracleWithTiesNaNAndInfinity) {
  for_cases([&](DType dtype, const PoolGeometry& geometry, const Shape& in, const Shape& out, const std::string& what) {
    const Tensor x = make(dtype, in);
    for (std::int64_t i = 0; i < x.elements(); ++i) {
      const auto word = philox({static_cast<std::uint32_t>(i), 0, 0, 0}, {1, 0})[0];
      constexpr double kSpecial[] = {NAN, INFINITY, -INFINITY, -0.0};
      // Few different values, so that windows hold equals.
      kernel_case::set_value(x, i, word % 16 < 4 ? kSpecial[word % 4] : static_cast<double>(word % 7) - 3);
    }
    const Tensor y = make(dtype, out), wanted = make(dtype, out), argmax = make(DType::uint8, out),
                 places = make(DType::uint8, out);
    run_fast(MaxPoolForward{.x = x, .y = y, .argmax = argmax, .geometry = geometry});
    run_oracle(MaxPoolForward{.x = x, .y = wanted, .argmax = places, .geometry = geometry});
    expect_same(y, wanted, what);
    expect_same_positions(argmax, places, what);

    const Tensor without = make(dtype, out);
    run_fast(MaxPoolForward{.x = x, .y = without, .argmax = {}, .geometry = geometry});
    expect_same(without, wanted, what + " without argmax");
  });
}

TEST_P(KernelPooling, MaxBackwardIsWithinItsBound) {
  for_cases([&](DType dtype, const PoolGeometry& geometry, const Shape& in, const Shape& out, const std::string& what) {
    const Tensor x = make_filled(dtype, in, 1), y = make(dtype, out), argmax = make(DType::uint8, out);
    run_oracle(MaxPoolForward{.x = x, .y = y, .argmax = argmax, .geometry = geometry});
    const Tensor dy = make_filled(dtype, out, 2), dx = make(dtype, in), wanted = make(DType::fp32, in);
    run_fast(MaxPoolBackward{.dy = dy, .argmax = argmax, .dx = dx, .geometry = geometry});
    run_oracle(MaxPoolBackward{.dy = dy, .argmax = argmax, .dx = wanted, .geometry = geometry});
    // At most kTerms terms of at most 1 are added in FP32.
    expect_rounded_once(
        dx, wanted, [](auto) { return kTerms * kTerms * kUnit; }, what);
  });
}

TEST_P(KernelPooling, MaxBackwardPassesNaNToTheWinnerAlone) {
  const Shape in{1, 4, 4, 20}, out{1, 2, 2, 20};
  const Tensor dy = make_filled(DType::fp16, out, 1, NAN, NAN), dx = make(DType::fp16, in), argmax = make_zero_bytes(out);
  run_fast(MaxPoolBackward{.dy = dy, .argmax = argmax, .dx = dx, .geometry = {}});
  for (std::int64_t i = 0; i < dx.elements(); ++i) {
    const std::int64_t h = i / 80, w = i / 20 % 4;
    ASSERT_EQ(std::isnan(kernel_case::value_at(dx, i)), h % 2 == 0 && w % 2 == 0) << i;
  }
}

TEST_P(KernelPooling, AverageIsWithinItsBoundWithAndWithoutPadding) {
  for_cases([&](DType dtype, const PoolGeometry& geometry, const Shape& in, const Shape& out, const std::string& what) {
    for (const bool count_padding : {false, true}) {
      const Tensor x = make_filled(dtype, in, 1), y = make(dtype, out), wanted = make(DType::fp32, out);
      run_fast(AveragePoolForward{.x = x, .y = y, .geometry = geometry, .count_padding = count_padding});
      run_oracle(AveragePoolForward{.x = x, .y = wanted, .geometry = geometry, .count_padding = count_padding});
      // At most kTerms terms of at most 1 are added in FP32 and divided by their number.
      expect_rounded_once(
          y, wanted, [](auto) { return (kTerms + 1) * kUnit; }, what);

      const Tensor dy = make_filled(dtype, out, 2), dx = make(dtype, in), dx_wanted = make(DType::fp32, in);
      run_fast(AveragePoolBackward{.dy = dy, .dx = dx, .geometry = geometry, .count_padding = count_padding});
      run_oracle(AveragePoolBackward{.dy = dy, .dx = dx_wanted, .geometry = geometry, .count_padding = count_padding});
      // Each term is rounded by its division, and kTerms of at most 1 are added.
      expect_rounded_once(
          dx, dx_wanted, [](auto) { return kTerms * (kTerms + 1) * kUnit; }, what + " backward");
    }
  });
}

TEST_P(KernelPooling, GlobalAverageIsWithinItsBound) {
  for (const DType dtype : kernel_case::kFloatingTypes) {
    for (const std::int64_t channels : {0, 1, 3, 17, 64, 100, 530}) {  // the last: two chunks of channels
      for (const std::int64_t samples : {0, 1, 3}) {
        const Shape in{samples, 17, 19, channels}, out{samples, channels};  // 323 positions: two blocks
        const std::string what = std::string(name(dtype)) + " " + in.to_string();
        const Tensor x = make_filled(dtype, in, 1), y = make(dtype, out), wanted = make(DType::fp32, out);
        run_fast(GlobalAveragePoolForward{.x = x, .y = y});
        run_oracle(GlobalAveragePoolForward{.x = x, .y = wanted});
        // A value of at most 1 passes 37 additions in the CPU's block of 256 positions, at most 41 in one of the 8 threads or
        // more that share the positions on a GPU. Blocks and threads are added in FP64.
        expect_rounded_once(
            y, wanted, [](auto) { return 41 * kUnit; }, what);

        const Tensor dy = make_filled(dtype, out, 2), dx = make(dtype, in), dx_wanted = make(DType::fp32, in);
        run_fast(GlobalAveragePoolBackward{.dy = dy, .dx = dx});
        run_oracle(GlobalAveragePoolBackward{.dy = dy, .dx = dx_wanted});
        // The factor and the product are rounded.
        const auto error = [&](std::int64_t i) { return 2 * kUnit * std::abs(kernel_case::value_at(dx_wanted, i)); };
        expect_rounded_once(dx, dx_wanted, error, what + " backward");
      }
    }
  }
}

}  // namespace minim::pooling_suite
