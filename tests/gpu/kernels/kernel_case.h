#pragma once

#include <gtest/gtest.h>

#include "gpu/kernels/twin.h"
#include "minim/runtime/cuda.h"
#include "runtime/vector_case.h"

/// What the tests of a CUDA backend's kernels share. Each runs a kernel on the device, be it a GPU or a double of one, and holds
/// it against the same kernel of the CPU backend or of the reference backend.
namespace minim::gpu {

using vector_case::kFloatingTypes;
using vector_case::kUnit;

/// No element, one, around a warp and a block, and such that packs leave a rest.
inline constexpr std::int64_t kCounts[] = {0, 1, 3, 8, 31, 33, 256, 1031, 5000};
/// Arrays that start on 16 bytes, and such that do not.
inline constexpr std::int64_t kOffsets[] = {0, 1};

class KernelCase : public testing::Test {
 protected:
  Twin make(DType dtype, Shape shape, std::int64_t offset = 0) { return {*cpu_, *device_, dtype, shape, offset}; }
  Twin make_filled(DType dtype, Shape shape, std::uint32_t seed, double low = -1, double high = 1, std::int64_t offset = 0) {
    const Twin twin = make(dtype, shape, offset);
    vector_case::fill(twin.host(), seed, low, high);
    twin.upload();
    return twin;
  }
  /// Random numbers of both signs with zeros of both signs, NaN and infinities among them.
  Twin make_special(DType dtype, Shape shape, std::uint32_t seed, std::int64_t offset = 0) {
    constexpr double kSpecial[] = {0.0, -0.0, NAN, INFINITY, -INFINITY, -NAN};
    const Twin twin = make_filled(dtype, shape, seed, -1, 1, offset);
    for (std::int64_t i = 2; i < shape.elements(); i += 5) vector_case::set_value(twin.host(), i, kSpecial[i / 5 % 6]);
    twin.upload();
    return twin;
  }
  template <class T>
  Twin make_from(const std::vector<T>& values) {
    const Twin twin = make(kDType<T>, {static_cast<std::int64_t>(values.size())});
    std::copy(values.begin(), values.end(), twin.host().template data<T>());
    twin.upload();
    return twin;
  }
  /// A tensor of the host alone.
  Tensor make_host(DType dtype, Shape shape) { return cpu_->allocate_tensor(dtype, shape, MemoryKind::workspace); }

  /// Runs the device's kernel with a workspace of the size it asks for, where it has one.
  template <class Args>
  void run_device(Args args) {
    ASSERT_EQ(device_->kernel_set<Args>(), "cuda");
    run(*device_, *device_stream_, args);
  }
  template <class Args>
  void run_cpu(const Args& args) {
    run(*cpu_, *host_stream_, args);
  }
  template <class Args>
  void run_reference(const Args& args) {
    run(*reference_, *host_stream_, args);
  }
  /// Runs the kernel with `args_of(side)` on the device and on the CPU.
  template <class ArgsOf>
  void run_both(const ArgsOf& args_of) {
    run_device(args_of(Side::device));
    run_cpu(args_of(Side::host));
  }

  /// Every bit of both is the same.
  void expect_equal_bits(const Twin& twin, const std::string& what) {
    const Tensor found = twin.download(*cpu_);
    const TensorView host = twin.host();
    const auto* a = static_cast<const unsigned char*>(found.view().raw());
    const auto* b = static_cast<const unsigned char*>(host.raw());
    const std::int64_t width_bytes = size_bytes(host.dtype());
    for (std::int64_t i = 0; i < host.size_bytes(); ++i) {
      ASSERT_EQ(a[i], b[i]) << what << ", byte " << i % width_bytes << " of element " << i / width_bytes;
    }
  }
  /// Every bit of both is the same, except that any NaN equals any other.
  void expect_equal_values(const Twin& twin, const std::string& what) {
    vector_case::expect_same(twin.download(*cpu_), twin.host(), what);
  }
  /// Every element of the device's tensor is `wanted`'s, which is FP32, computed with an error of at most `error(i)`, rounded
  /// once.
  template <class Error>
  void expect_rounded_once(const Twin& twin, const ConstTensorView& wanted, const Error& error, const std::string& what) {
    vector_case::expect_rounded_once(twin.download(*cpu_), wanted, error, what);
  }

  Backend& device() { return *device_; }
  Stream& device_stream() { return *device_stream_; }
  Backend& host() { return *cpu_; }

 private:
  template <class Args>
  static void run(Backend& backend, Stream& stream, Args args) {
    const Tensor workspace = backend.allocate_tensor(DType::uint8, {backend.workspace_bytes(args)}, MemoryKind::workspace);
    if constexpr (requires { args.workspace; }) args.workspace = workspace;
    backend.run(stream, args);
  }

  std::unique_ptr<Backend> device_ = make_cuda_backend({});
  std::unique_ptr<Backend> cpu_ = make_cpu_backend(1);
  std::unique_ptr<Backend> reference_ = make_reference_backend();
  std::unique_ptr<Stream> device_stream_ = device_->make_stream("test");
  std::unique_ptr<Stream> host_stream_ = cpu_->make_stream("test");
};

inline std::string describe(DType dtype, const Shape& shape, std::int64_t offset) {
  return std::string(name(dtype)) + " " + shape.to_string() + (offset != 0 ? ", not aligned" : "");
}

}  // namespace minim::gpu
