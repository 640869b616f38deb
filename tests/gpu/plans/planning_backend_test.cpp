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
