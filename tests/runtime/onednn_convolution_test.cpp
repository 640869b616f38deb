#include <cstring>

#include "runtime/convolution_suite.h"

namespace minim::convolution_suite {
namespace {

/// The kernels of the CPU backend on streams of so many threads.
std::vector<kernel_case::KernelSet> set(int threads) {
  return {{.name = "cpu", .set = "cpu", .make_backend = [threads] { return make_cpu_backend(threads); }}};
}

INSTANTIATE_TEST_SUITE_P(Onednn, KernelConvolution, testing::ValuesIn(set(1)), kernel_case::set_name);

using OnednnConvolutionOnTwoThreads = KernelConvolution;

TEST_P(OnednnConvolutionOnTwoThreads, TwoRunsGiveEqualBits) {
  const Case c{"several chunks, the last short", 9, 28, 28, 16, 16, 3, 3, geometry(1, 1)};
  for (const DType dtype : kFloatingTypes) expect_equal_runs(c, dtype, std::string(name(dtype)));
}

INSTANTIATE_TEST_SUITE_P(Onednn, OnednnConvolutionOnTwoThreads, testing::ValuesIn(set(2)), kernel_case::set_name);

class OnednnConvolution : public testing::Test {
 protected:
  static TensorView view(const Shape& shape) { return {nullptr, DType::fp16, shape}; }

  std::unique_ptr<Backend> cpu_ = make_cpu_backend(1);
};

TEST_F(OnednnConvolution, LaunchesOfOneCallSeeTheirInputsAsTheyAreThen) {
  const auto stream = cpu_->make_stream("test");
  const Case c = cases().front();
  for (const DType dtype : kFloatingTypes) {
    const auto tensor = [&](const Shape& shape) { return cpu_->allocate_tensor(dtype, shape, MemoryKind::workspace); };
    const Tensor x = tensor(c.x()), w = tensor(c.w()), y = tensor(c.y());
    kernel_case::fill(x, 1, -1, 1);
    kernel_case::fill(w, 2, -1, 1);
    Conv2dForward args{.x = x, .w = w, .bias = {}, .y = y, .geometry = c.geometry, .workspace = {}};
    const Tensor workspace = cpu_->allocate_tensor(DType::uint8, {cpu_->workspace_bytes(args)}, MemoryKind::workspace);
    args.workspace = workspace;
    const auto call = cpu_->prepare(args);
    const auto largest = [&] {
      call->launch(*stream);
      stream->synchronize();
      double magnitude = 0;
      for (std::int64_t i = 0; i < y.elements(); ++i) magnitude = std::max(magnitude, std::abs(kernel_case::value_at(y, i)));
      return magnitude;
    };
    EXPECT_GT(largest(), 0);
    std::memset(w.view().raw(), 0, static_cast<std::size_t>(w.view().size_bytes()));
    EXPECT_EQ(largest(), 0);
  }
}

TEST_F(OnednnConvolution, WorkspaceOfFp16DoesNotGrowWithTheBatch) {
  Case c = cases().front();
  c.samples = 1 << 16;  // 400 MiB in FP32
  // Images of a chunk, less than 1 MiB; the weights in two layouts and oneDNN's own scratch, some kB at 16 channels.
  constexpr std::int64_t kMostBytes = 2 << 20;
  EXPECT_LE(cpu_->workspace_bytes(Conv2dForward{
                .x = view(c.x()), .w = view(c.w()), .bias = {}, .y = view(c.y()), .geometry = c.geometry, .workspace = {}}),
            kMostBytes);
  EXPECT_LE(cpu_->workspace_bytes(Conv2dBackwardWeights{
                .x = view(c.x()), .dy = view(c.y()), .dw = view(c.w()), .dbias = {}, .geometry = c.geometry, .workspace = {}}),
            kMostBytes);
}

TEST_F(OnednnConvolution, RefusesMoreWeightsThanOnednnCountsInEveryPass) {
  const TensorView image = view({1, 4, 4, 1 << 19}), weights = view({1 << 19, 3, 3, 1 << 19});
  const Conv2dGeometry same{.pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};
  const auto refuses = [&](const auto& args) { EXPECT_THROW(cpu_->workspace_bytes(args), InvalidArgument); };
  refuses(Conv2dForward{.x = image, .w = weights, .bias = {}, .y = image, .geometry = same, .workspace = {}});
  refuses(Conv2dBackwardData{.dy = image, .w = weights, .dx = image, .geometry = same, .workspace = {}});
  refuses(Conv2dBackwardWeights{.x = image, .dy = image, .dw = weights, .dbias = {}, .geometry = same, .workspace = {}});
}

TEST_F(OnednnConvolution, RefusesAWorkspaceThatIsTooSmall) {
  const Case c = cases().front();
  const Conv2dForward args{
      .x = view(c.x()), .w = view(c.w()), .bias = {}, .y = view(c.y()), .geometry = c.geometry, .workspace = {}};
  EXPECT_THROW(cpu_->prepare(args), InvalidArgument);
}

}  // namespace
}  // namespace minim::convolution_suite
