#include <gtest/gtest.h>

#include "cuda/cuda_backend.h"
#include "cuda/cudnn/convolution_plan.h"
#include "minim/runtime/error.h"
#include "minim/runtime/kernels/batch_norm.h"
#include "minim/runtime/kernels/linear.h"

/// What a backend for a device that is not there tells. Run with a driver and without.
namespace minim::cuda {
namespace {

ConstTensorView read(DType dtype, Shape shape) { return {nullptr, dtype, shape}; }
TensorView write(DType dtype, Shape shape) { return {nullptr, dtype, shape}; }

std::unique_ptr<Backend> planning_for(const char* gpu) { return make_planning_backend(*find_gpu_model(gpu)); }

Conv2dBackwardWeights weight_gradient(DType dtype) {
  return {.x = read(dtype, {64, 56, 56, 64}),
          .dy = read(dtype, {64, 56, 56, 64}),
          .dw = write(dtype, {64, 3, 3, 64}),
          .dbias = {},
          .geometry = {.pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1},
          .workspace = {}};
}

TEST(PlanningBackend, TellsTheWorkspacesOfCudnnsPlans) {
  const auto args = weight_gradient(DType::fp16);
  const WorkspaceSize told = planning_for("h100")->workspace(args);
  const auto device = cudnn::DeviceProperties::of_model(*find_gpu_model("h100"));
  EXPECT_TRUE(told.is_known);
  EXPECT_GT(told.size_bytes, 0);
  EXPECT_EQ(told.size_bytes, cudnn::plan_convolution(problem_of(args), device).workspace_bytes);
}

TEST(PlanningBackend, PlansForTheDeviceThatItIsGiven) {
  const auto args = weight_gradient(DType::fp16);
  EXPECT_NE(planning_for("h100")->workspace(args).size_bytes, planning_for("t4")->workspace(args).size_bytes);
}

/// The layers of a generator that makes images of 64 x 64 from noise. Source: Radford, Metz and Chintala, arXiv:1511.06434.
TEST(PlanningBackend, PlansTransposedConvolutions) {
  struct Layer {
    std::int64_t size, channels, new_size, new_channels;
    Conv2dGeometry geometry;
  };
  const Conv2dGeometry doubling{.stride_h = 2, .stride_w = 2, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};
  const Layer layers[] = {
      {1, 128, 4, 512, {}}, {4, 512, 8, 256, doubling}, {16, 128, 32, 64, doubling}, {32, 64, 64, 3, doubling}};
  for (const char* const gpu : {"a100", "h100", "b200"}) {
    const auto backend = planning_for(gpu);
    for (const Layer& layer : layers) {
      const Shape x{64, layer.size, layer.size, layer.channels}, y{64, layer.new_size, layer.new_size, layer.new_channels};
      const Shape w{layer.channels, 4, 4, layer.new_channels};
      const DType fp16 = DType::fp16;
      const WorkspaceSize told[] = {
          backend->workspace(Conv2dBackwardData{
              .dy = read(fp16, x), .w = read(fp16, w), .dx = write(fp16, y), .geometry = layer.geometry, .workspace = {}}),
          backend->workspace(Conv2dForward{.x = read(fp16, y),
                                           .w = read(fp16, w),
                                           .bias = {},
                                           .y = write(fp16, x),
                                           .geometry = layer.geometry,
                                           .workspace = {}}),
          backend->workspace(Conv2dBackwardWeights{.x = read(fp16, y),
                                                   .dy = read(fp16, x),
                                                   .dw = write(fp16, w),
                                                   .dbias = {},
                                                   .geometry = layer.geometry,
                                                   .workspace = {}})};
      for (const WorkspaceSize& workspace : told) EXPECT_TRUE(workspace.is_known) << gpu << " to " << y.to_string();
    }
  }
}

TEST(PlanningBackend, DoesNotKnowWhatTakesADriverToPlan) {
  // cuDNN has no BF16 convolution for sm_75, and without a driver it cannot say so of engines that it compiles.
  const auto args = weight_gradient(DType::bf16);
  const auto backend = planning_for("t4");
  if (has_cuda_driver()) {
    EXPECT_THROW(backend->workspace(args), DeviceError);
  } else {
    EXPECT_FALSE(backend->workspace(args).is_known);
    EXPECT_EQ(backend->workspace(args).size_bytes, kMostCudaWorkspaceBytes);
  }
}

TEST(PlanningBackend, DoesNotKnowTheWorkspacesOfProducts) {
  const auto backend = planning_for("h100");
  const auto product = [&](std::int64_t samples) {
    return backend->workspace(LinearForward{.x = read(DType::fp16, {samples, 400}),
                                            .w = read(DType::fp16, {120, 400}),
                                            .bias = {},
                                            .y = write(DType::fp16, {samples, 120}),
                                            .workspace = {}});
  };
  EXPECT_FALSE(product(64).is_known);
  EXPECT_EQ(product(64).size_bytes, 32 << 20);
  EXPECT_TRUE(product(0).is_known);
  EXPECT_EQ(product(0).size_bytes, 0);
}

TEST(PlanningBackend, KnowsTheWorkspacesOfOwnKernels) {
  const auto statistic = [] { return write(DType::fp32, {64}); };
  const WorkspaceSize told = planning_for("h100")->workspace(BatchNormForward{.x = read(DType::fp16, {64, 56, 56, 64}),
                                                                              .gamma = statistic(),
                                                                              .beta = statistic(),
                                                                              .y = write(DType::fp16, {64, 56, 56, 64}),
                                                                              .mean = statistic(),
                                                                              .rstd = statistic(),
                                                                              .running_mean = statistic(),
                                                                              .running_variance = statistic(),
                                                                              .valid_samples = {},
                                                                              .workspace = {}});
  EXPECT_TRUE(told.is_known);
  EXPECT_GT(told.size_bytes, 0);
}

TEST(PlanningBackend, HasNoMemory) {
  EXPECT_THROW(planning_for("h100")->allocate(64, MemoryKind::input), InvalidArgument);
  EXPECT_THROW(planning_for("h100")->make_stream("compute"), InvalidArgument);
}

}  // namespace
}  // namespace minim::cuda
