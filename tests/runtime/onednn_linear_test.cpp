#include "runtime/linear_suite.h"

namespace minim::linear_suite {
namespace {

/// The kernels of the CPU backend on streams of so many threads.
std::vector<kernel_case::KernelSet> set(int threads) {
  return {{.name = "cpu", .set = "cpu", .make_backend = [threads] { return make_cpu_backend(threads); }}};
}

INSTANTIATE_TEST_SUITE_P(Onednn, KernelLinear, testing::ValuesIn(set(1)), kernel_case::set_name);

using OnednnLinearOnTwoThreads = KernelLinear;

TEST_P(OnednnLinearOnTwoThreads, TwoRunsGiveEqualBits) {
  for (const DType dtype : kFloatingTypes) expect_equal_runs({270, 40, 530}, dtype, std::string(name(dtype)));
}

INSTANTIATE_TEST_SUITE_P(Onednn, OnednnLinearOnTwoThreads, testing::ValuesIn(set(2)), kernel_case::set_name);

TensorView view(const Shape& shape) { return {nullptr, DType::fp16, shape}; }

TEST(OnednnLinear, WorkspaceStaysBoundedForWideLayers) {
  const auto cpu = make_cpu_backend(1);
  const Case c{4096, 25088, 4096};
  // The tiles of the three matrices in FP32, 1 MiB, and what oneDNN itself asks for on top of them.
  constexpr std::int64_t kMostBytes = 4 << 20;
  EXPECT_LE(
      cpu->workspace_bytes(LinearForward{.x = view(c.x()), .w = view(c.w()), .bias = {}, .y = view(c.y()), .workspace = {}}),
      kMostBytes);
  EXPECT_LE(cpu->workspace_bytes(
                LinearBackwardWeights{.x = view(c.x()), .dy = view(c.y()), .dw = view(c.w()), .dbias = {}, .workspace = {}}),
            kMostBytes);
}

TEST(OnednnLinear, RefusesAWorkspaceThatIsTooSmall) {
  const auto cpu = make_cpu_backend(1);
  const Case c{2, 3, 4};
  EXPECT_THROW(cpu->prepare(LinearForward{.x = view(c.x()), .w = view(c.w()), .bias = {}, .y = view(c.y()), .workspace = {}}),
               InvalidArgument);
}

}  // namespace
}  // namespace minim::linear_suite
