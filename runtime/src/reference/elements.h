#pragma once

#include "minim/runtime/kernels/activation.h"
#include "minim/runtime/tensor.h"

namespace minim::reference {

/// Reads the elements of an fp32, fp16 or bf16 tensor.
class Input {
 public:
  explicit Input(const ConstTensorView& view) : data_(view.raw()), dtype_(view.dtype()) {}

  float operator[](std::int64_t i) const {
    return dispatch_floating(dtype_, [&](auto element) { return to_float(static_cast<const decltype(element)*>(data_)[i]); });
  }

 private:
  const void* data_;
  DType dtype_;
};

/// Reads and writes the elements of an fp32, fp16 or bf16 tensor.
class Output {
 public:
  explicit Output(const TensorView& view) : data_(view.raw()), dtype_(view.dtype()) {}

  float operator[](std::int64_t i) const {
    return dispatch_floating(dtype_, [&](auto element) { return to_float(static_cast<const decltype(element)*>(data_)[i]); });
  }
  /// Rounds to FP32 and from there to the element type, as a kernel does that sums in FP32.
  void store(std::int64_t i, double value) const {
    dispatch_floating(dtype_, [&](auto element) {
      static_cast<decltype(element)*>(data_)[i] = round_to<decltype(element)>(static_cast<float>(value));
    });
  }

 private:
  void* data_;
  DType dtype_;
};

/// Where element (a, b, c, d) of a rank-4 tensor lies.
struct Index4 {
  explicit Index4(const Shape& shape) : extent_b(shape[1]), extent_c(shape[2]), extent_d(shape[3]) {}
  std::int64_t operator()(std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t d) const {
    return ((a * extent_b + b) * extent_c + c) * extent_d + d;
  }
  std::int64_t extent_b, extent_c, extent_d;
};

inline double activate(double value, Activation activation) { return activation == Activation::relu && value <= 0 ? 0 : value; }

/// How many samples of `samples` are no padding.
inline std::int64_t count_valid(const ConstTensorView& valid_samples, std::int64_t samples) {
  return valid_samples.present() ? *valid_samples.data<std::int32_t>() : samples;
}

}  // namespace minim::reference
