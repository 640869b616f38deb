#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "minim/runtime/backend.h"

namespace minim {

/// The reference backend with a stream of its own, and tensors with given contents.
class ReferenceCase : public ::testing::Test {
 protected:
  /// A tensor of fp32, fp16 or bf16 with `values`, each rounded.
  Tensor tensor(const Shape& shape, const std::vector<float>& values, DType dtype = DType::fp32) {
    const Tensor result = untouched(shape, dtype);
    EXPECT_EQ(result.elements(), static_cast<std::int64_t>(values.size())) << shape.to_string();
    dispatch_floating(dtype, [&](auto element) {
      std::ranges::transform(values, result.span<decltype(element)>().begin(), round_to<decltype(element)>);
    });
    return result;
  }
  template <class T>
  Tensor integers(const std::vector<T>& values) {
    const Tensor result = untouched({static_cast<std::int64_t>(values.size())}, kDType<T>);
    std::ranges::copy(values, result.span<T>().begin());
    return result;
  }
  /// Values in [-1, 1), multiples of 1/64: exact in every type. The same for the same shape and seed.
  Tensor random(const Shape& shape, unsigned seed, DType dtype = DType::fp32) {
    std::mt19937 generator(seed);
    std::vector<float> values(static_cast<std::size_t>(shape.elements()));
    for (float& value : values) value = static_cast<float>(static_cast<int>(generator() % 128U) - 64) / 64;
    return tensor(shape, values, dtype);
  }
  /// A tensor for results, full of NaN (or 255), so that what a kernel leaves out is seen.
  Tensor untouched(const Shape& shape, DType dtype = DType::fp32) {
    const Tensor result = backend_->allocate_tensor(dtype, shape, MemoryKind::activations);
    if (const TensorView view = result; view.size_bytes() > 0) {
      std::memset(view.raw(), 0xFF, static_cast<std::size_t>(view.size_bytes()));
    }
    return result;
  }

  template <class Args>
  void run(const Args& args) {
    backend_->run(*stream_, args);
  }

  /// Holds `gradient` against central differences of `loss()`, a function of the FP32 elements of `at`.
  template <class Loss>
  void expect_gradient(const Tensor& at, const Tensor& gradient, Loss loss) {
    // Each loss is a sum of terms whose magnitudes sum to less than 64, each term with a relative error of 2^-24: the difference
    // of two, over 2 h, is off by at most 2 * 64 * 2^-24 / 2^-5 = 2.5e-4. The truncation h^2 / 6 * |third derivative| stays below
    // 7.5e-4 as long as the derivative is below 18, which is so for the small cases here. A wrong term is off by 1e-2 and more.
    constexpr double kStep = 0x1p-6, kTolerance = 1e-3;
    const auto elements = at.span<float>(), found = gradient.span<float>();
    ASSERT_EQ(elements.size(), found.size());
    for (std::size_t i = 0; i < elements.size(); ++i) {
      const float value = elements[i];
      elements[i] = value + static_cast<float>(kStep);
      const double above = loss();
      elements[i] = value - static_cast<float>(kStep);
      const double below = loss();
      elements[i] = value;
      ASSERT_NEAR(found[i], (above - below) / (2 * kStep), kTolerance) << "element " << i << " of " << at.shape().to_string();
    }
  }

  static std::vector<float> values(const TensorView& view) {
    std::vector<float> result;
    dispatch_floating(view.dtype(), [&](auto element) {
      for (const auto value : view.span<decltype(element)>()) result.push_back(to_float(value));
    });
    return result;
  }
  static std::vector<float> rounded(std::vector<float> values, DType dtype) {
    dispatch_floating(dtype, [&](auto element) {
      for (float& value : values) value = to_float(round_to<decltype(element)>(value));
    });
    return values;
  }
  /// sum of a * b in FP64.
  static double dot(const Tensor& a, const Tensor& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.span<float>().size(); ++i) sum += double{a.span<float>()[i]} * double{b.span<float>()[i]};
    return sum;
  }

  std::unique_ptr<Backend> backend_ = make_reference_backend();
  std::unique_ptr<Stream> stream_ = backend_->make_stream("test");
};

inline constexpr DType kLowPrecision[] = {DType::fp16, DType::bf16};

}  // namespace minim
