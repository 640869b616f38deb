#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include "minim/runtime/backend.h"

/// What the tests of the oneDNN kernels share: operands, the error that FP32 accumulation allows, and a watched workspace.
namespace minim::onednn_case {

inline constexpr DType kDTypes[] = {DType::fp32, DType::fp16, DType::bf16};

/// Half of the distance of neighbours at 1: the largest relative error of one rounding.
inline double unit_roundoff(DType dtype) { return dtype == DType::fp32 ? 0x1p-24 : dtype == DType::fp16 ? 0x1p-11 : 0x1p-8; }
/// Largest error of one rounding of values around zero.
inline double underflow_roundoff(DType dtype) { return dtype == DType::fp16 ? 0x1p-25 : 0x1p-134; }

/// Largest distance of a computed from an exact sum of `products` terms whose magnitudes sum to `magnitudes`: FP32 accumulation
/// in any order (Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1) with a rounded product, a bias or old
/// value and a reference in FP32 counted as three more terms, then one rounding to `dtype`.
inline double error_bound(DType dtype, std::int64_t products, double magnitudes, double exact) {
  const double n_u = static_cast<double>(products + 3) * 0x1p-24;
  const double accumulation = n_u / (1 - n_u) * magnitudes;
  return accumulation + unit_roundoff(dtype) * (std::abs(exact) + accumulation) + underflow_roundoff(dtype);
}

/// Values of a dense tensor of a floating type.
inline std::vector<float> values(const TensorView& tensor) {
  std::vector<float> result;
  dispatch_floating(tensor.dtype(), [&](auto t) {
    for (const auto v : tensor.span<decltype(t)>()) result.push_back(to_float(v));
  });
  return result;
}

/// A tensor with `values`, each rounded to `dtype`; `magnitudes` takes their absolute values.
inline Tensor tensor_of(Backend& backend, DType dtype, const Shape& shape, const std::vector<float>& values,
                        bool magnitudes = false) {
  Tensor tensor = backend.allocate_tensor(dtype, shape, MemoryKind::activations);
  dispatch_floating(dtype, [&](auto t) {
    auto out = tensor.span<decltype(t)>();
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = round_to<decltype(t)>(magnitudes ? std::abs(values[i]) : values[i]);
  });
  return tensor;
}

/// Values in [-1, 1) that `dtype` holds exactly.
inline std::vector<float> random_values(DType dtype, std::int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-1.0F, 1.0F);
  std::vector<float> result(static_cast<std::size_t>(n));
  dispatch_floating(dtype, [&](auto t) {
    for (float& v : result) v = to_float(round_to<decltype(t)>(uniform(random)));
  });
  return result;
}

/// Makes operands for one backend: each seed gives the same values everywhere, absolute for the sums of magnitudes.
struct Operands {
  Backend& backend;
  DType storage;  ///< whose values they are
  bool magnitudes = false;

  Tensor of(unsigned seed, DType dtype, const Shape& shape) const {
    return tensor_of(backend, dtype, shape, random_values(storage, shape.elements(), seed), magnitudes);
  }
};

/// A workspace of exactly the bytes that a kernel asked for, with a guard behind it.
class GuardedWorkspace {
 public:
  GuardedWorkspace(Backend& backend, std::int64_t size_bytes)
      : size_bytes_(size_bytes), buffer_(backend.allocate(size_bytes + kGuardBytes, MemoryKind::workspace)) {
    std::memset(buffer_.data(), kPattern, static_cast<std::size_t>(size_bytes + kGuardBytes));
  }
  TensorView view() const { return {buffer_.data(), DType::uint8, Shape{size_bytes_}}; }
  bool intact() const {
    const auto* guard = static_cast<const unsigned char*>(buffer_.data()) + size_bytes_;
    return std::all_of(guard, guard + kGuardBytes, [](unsigned char byte) { return byte == kPattern; });
  }

 private:
  static constexpr std::int64_t kGuardBytes = 4096;
  static constexpr unsigned char kPattern = 0xFF;  // NaN in FP32: scratch that is read before it is written shows in the result
  std::int64_t size_bytes_;
  Buffer buffer_;
};

/// Runs `args` on `backend` with a workspace of just the size that the kernel asks for.
template <class Args>
void run_guarded(Backend& backend, Stream& stream, Args args) {
  const GuardedWorkspace workspace(backend, backend.workspace_bytes(args));
  args.workspace = workspace.view();
  backend.run(stream, args);
  EXPECT_TRUE(workspace.intact());
}

/// Holds `found` against `exact`, both as FP32 values; `magnitudes` are the sums of absolute products.
inline void expect_accumulated_in_fp32(DType dtype, std::int64_t products, const std::vector<float>& found,
                                       const std::vector<float>& exact, const std::vector<float>& magnitudes) {
  ASSERT_EQ(found.size(), exact.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double bound = error_bound(dtype, products, magnitudes[i], exact[i]);
    ASSERT_LE(std::abs(double{found[i]} - exact[i]), bound) << "element " << i << " is " << found[i] << ", exactly " << exact[i];
  }
}

struct Gradients {
  std::vector<float> dw, dbias;
  friend bool operator==(const Gradients&, const Gradients&) = default;
};

inline void expect_accumulated_in_fp32(DType dtype, std::int64_t products, const Gradients& found, const Gradients& exact,
                                       const Gradients& magnitudes) {
  expect_accumulated_in_fp32(dtype, products, found.dw, exact.dw, magnitudes.dw);
  expect_accumulated_in_fp32(dtype, products, found.dbias, exact.dbias, magnitudes.dbias);
}

/// The two backends side by side.
struct Backends {
  explicit Backends(int threads = 1) : cpu(make_cpu_backend(threads)), cpu_stream(cpu->make_stream("cpu")) {}

  std::unique_ptr<Backend> cpu;
  std::unique_ptr<Stream> cpu_stream;
  std::unique_ptr<Backend> reference = make_reference_backend();
  std::unique_ptr<Stream> reference_stream = reference->make_stream("reference");
};

/// Holds what `kernel(operands, stream, dtype)` returns, sums of `products` terms, against the reference in FP32.
template <class Kernel>
void expect_like_reference(const Backends& backends, DType dtype, std::int64_t products, const Kernel& kernel) {
  const auto found = kernel(Operands{*backends.cpu, dtype}, *backends.cpu_stream, dtype);
  const auto exact = kernel(Operands{*backends.reference, dtype}, *backends.reference_stream, DType::fp32);
  const auto magnitudes = kernel(Operands{*backends.reference, dtype, true}, *backends.reference_stream, DType::fp32);
  expect_accumulated_in_fp32(dtype, products, found, exact, magnitudes);
}

/// Expects equal bits of two runs of `kernel` on the CPU backend.
template <class Kernel>
void expect_equal_runs(const Backends& backends, DType dtype, const Kernel& kernel) {
  const Operands make{*backends.cpu, dtype};
  const auto first = kernel(make, *backends.cpu_stream, dtype);
  EXPECT_TRUE(first == kernel(make, *backends.cpu_stream, dtype));
}

}  // namespace minim::onednn_case
