#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <string>

#include "minim/runtime/backend.h"
#include "minim/runtime/philox.h"
#include "runtime/mirror.h"

/// What the tests of fast kernels share: each test runs once for every set of kernels that it is given, against the reference
/// backend. The oracle gets FP32 outputs, so that a result is compared before the oracle's own rounding.
namespace minim::kernel_case {

/// Unit roundoff of FP32: the relative error of one operation.
inline constexpr double kUnit = 0x1p-24;

/// From here on FP16 rounds to infinity.
inline constexpr double kHalfOverflow = 65520;

/// Half the distance between neighbours of `value` in `dtype`: the error of rounding once.
inline double half_ulp(DType dtype, double value) {
  const int digits = dtype == DType::fp16 ? 11 : dtype == DType::bf16 ? 8 : 24;
  const int smallest = dtype == DType::fp16 ? -14 : -126;
  const int exponent = value == 0 ? smallest : std::max(std::ilogb(value), smallest);
  return std::ldexp(1.0, exponent - digits);
}

inline double value_at(const ConstTensorView& view, std::int64_t i) {
  return dispatch_floating(view.dtype(), [&](auto t) { return double{to_float(view.data<decltype(t)>()[i])}; });
}

inline void set_value(const TensorView& view, std::int64_t i, double value) {
  dispatch_floating(view.dtype(),
                    [&](auto t) { view.data<decltype(t)>()[i] = round_to<decltype(t)>(static_cast<float>(value)); });
}

/// Numbers in [low, high), the same for the same seed.
inline void fill(const TensorView& view, std::uint32_t seed, double low, double high) {
  for (std::int64_t i = 0; i < view.elements(); ++i) {
    const auto words = philox({static_cast<std::uint32_t>(i), 0, 0, 0}, {seed, 0});
    set_value(view, i, low + (high - low) * uniform(words[0]));
  }
}

/// Every element of `found` is `wanted`'s, which is FP32, computed with an error of at most `error(i)` and rounded once.
/// NaN and infinity are equal to themselves; what rounds beyond the largest FP16 is infinite.
template <class Error>
void expect_rounded_once(const ConstTensorView& found, const ConstTensorView& wanted, const Error& error,
                         const std::string& what) {
  ASSERT_EQ(found.elements(), wanted.elements()) << what;
  for (std::int64_t i = 0; i < found.elements(); ++i) {
    const double f = value_at(found, i);
    double w = value_at(wanted, i);
    if (found.dtype() == DType::fp16 && std::abs(w) - error(i) >= kHalfOverflow) w = std::copysign(INFINITY, w);
    if (std::isnan(w) || std::isinf(w)) {
      ASSERT_TRUE(std::isnan(w) ? std::isnan(f) : f == w) << what << ", element " << i << ": " << f << " for " << w;
      continue;
    }
    // The oracle's own rounding to FP32 is the second half_ulp.
    const double bound = error(i) + half_ulp(found.dtype(), std::abs(w) + error(i)) + half_ulp(DType::fp32, w);
    ASSERT_LE(std::abs(f - w), bound) << what << ", element " << i << ": " << f << " for " << w;
  }
}

/// Bit for bit, except that any NaN equals any other.
inline void expect_same(const ConstTensorView& found, const ConstTensorView& wanted, const std::string& what) {
  ASSERT_EQ(found.elements(), wanted.elements()) << what;
  for (std::int64_t i = 0; i < found.elements(); ++i) {
    const double f = value_at(found, i);
    const double w = value_at(wanted, i);
    const bool same = std::isnan(w) ? std::isnan(f) : f == w && std::signbit(f) == std::signbit(w);
    ASSERT_TRUE(same) << what << ", element " << i << ": " << f << " for " << w;
  }
}

/// A set of kernels that the tests of a suite run.
struct KernelSet {
  std::string name;                                        ///< of the tests' instance
  std::string set;                                         ///< what `Backend::kernel_set` says
  std::function<std::unique_ptr<Backend>()> make_backend;  ///< whatever else is needed for these kernels is in force afterwards
  std::function<void()> leave = [] {};                     ///< undoes that
  std::int64_t offset = 0;                                 ///< of tensors behind aligned addresses, in elements, on a device
};

inline std::string set_name(const testing::TestParamInfo<KernelSet>& info) { return info.param.name; }

/// A test that runs the kernels of one set. All tensors are the host's.
class KernelCase : public testing::TestWithParam<KernelSet> {
 protected:
  void TearDown() override { GetParam().leave(); }

  Tensor make(DType dtype, Shape shape) { return oracle_->allocate_tensor(dtype, shape, MemoryKind::workspace); }
  Tensor make_filled(DType dtype, Shape shape, std::uint32_t seed, double low = -1, double high = 1) {
    Tensor tensor = make(dtype, shape);
    fill(tensor, seed, low, high);
    return tensor;
  }
  Tensor make_int32(std::int32_t value) {
    Tensor tensor = make(DType::int32, {1});
    tensor.span<std::int32_t>()[0] = value;
    return tensor;
  }

  /// Runs the fast kernel with a workspace of the size it asks for, where it has one.
  template <class Args>
  void run_fast(const Args& args) {
    ASSERT_EQ(fast_->kernel_set<Args>(), GetParam().set);
    run_mirrored(*fast_, *stream_, args, GetParam().offset);
  }
  template <class Args>
  void run_oracle(const Args& args) {
    oracle_->run(*oracle_stream_, args);
  }
  /// From here on the fast kernels run on this stream.
  void use_stream(std::unique_ptr<Stream> stream) { stream_ = std::move(stream); }

 private:
  std::unique_ptr<Backend> fast_ = GetParam().make_backend();
  std::unique_ptr<Stream> stream_ = fast_->make_stream("test");
  std::unique_ptr<Backend> oracle_ = make_reference_backend();
  std::unique_ptr<Stream> oracle_stream_ = make_cpu_stream("oracle", 1);
};

inline constexpr DType kFloatingTypes[] = {DType::fp32, DType::fp16, DType::bf16};
/// None, one, fewer and more than a vector, whole vectors, and vectors with a rest.
inline constexpr std::int64_t kChannelCounts[] = {0, 1, 3, 17, 64, 100};

}  // namespace minim::kernel_case
