#include "cuda/cudnn/convolution_plan.h"
#include "gpu/kernels/cuda_set.h"
#include "minim/runtime/cuda.h"
#include "runtime/convolution_suite.h"

namespace minim::convolution_suite {
namespace {

/// cuDNN's convolutions take aligned tensors alone.
std::vector<kernel_case::KernelSet> aligned_set() { return {gpu::cuda_sets().front()}; }

INSTANTIATE_TEST_SUITE_P(Cuda, KernelConvolution, testing::ValuesIn(aligned_set()), kernel_case::set_name);

/// Layers of the zoo.
const Case kLayers[] = {
    {"lenet's first", 16, 28, 28, 1, 6, 5, 5, geometry(1, 2)},
    {"lenet's second", 16, 14, 14, 6, 16, 5, 5, geometry(1, 0)},
    {"resnet-18 of width 16, first", 7, 28, 28, 1, 16, 3, 3, geometry(1, 1)},
    {"resnet-18 of width 16, smaller", 7, 28, 28, 16, 32, 3, 3, geometry(2, 1)},
    {"resnet-18 of width 16, last", 7, 4, 4, 128, 128, 3, 3, geometry(1, 1)},
    {"resnet-50, first", 2, 112, 112, 3, 64, 7, 7, geometry(2, 3)},
    {"resnet-50, 3 x 3", 1, 56, 56, 64, 64, 3, 3, geometry(1, 1)},
    {"resnet-50, 1 x 1", 2, 28, 28, 128, 512, 1, 1, geometry(1, 0)},
    {"resnet-50, 3 x 3, smaller", 2, 28, 28, 128, 128, 3, 3, geometry(2, 1)},
    {"resnet-50, 1 x 1, smaller", 2, 28, 28, 256, 512, 1, 1, geometry(2, 0)},
    {"resnet-50, last", 2, 7, 7, 512, 512, 3, 3, geometry(1, 1)},
};

/// Operands are multiples of 1/8 in [-1, 1], so that FP32 holds every sum of less than 2^18 products, in any order: results are
/// exact but for the one rounding on store. Sums in FP16, of rounded parts, or of transformed operands show.
class CudaConvolution : public KernelConvolution {
 protected:
  /// What computes a convolution, for messages.
  static std::string engine_of(const ConvolutionProblem& problem) {
    const auto plan = cuda::cudnn::plan_convolution(problem, cuda::cudnn::DeviceProperties::of_device(0));
    return "engine " + std::to_string(plan.engine) + " of cuDNN " + std::to_string(cudnnGetVersion());
  }
  Tensor make_eighths(const Shape& shape, std::uint32_t seed) {
    Tensor tensor = make(DType::fp32, shape);
    for (std::int64_t i = 0; i < tensor.elements(); ++i) {
      const auto word = philox({static_cast<std::uint32_t>(i), 0, 0, 0}, {seed, 0})[0];
      kernel_case::set_value(tensor, i, static_cast<double>(word % 17) / 8 - 1);
    }
    return tensor;
  }
  Tensor as(DType dtype, const Tensor& from) {
    Tensor tensor = make(dtype, from.shape());
    for (std::int64_t i = 0; i < from.elements(); ++i) kernel_case::set_value(tensor, i, kernel_case::value_at(from, i));
    return tensor;
  }
  void expect_rounded(const Tensor& found, const Tensor& exact, const std::string& what) {
    const Tensor wanted = as(found.dtype(), exact);
    for (std::int64_t i = 0; i < found.elements(); ++i) {
      const double f = kernel_case::value_at(found, i), e = kernel_case::value_at(wanted, i);
      ASSERT_EQ(f, e) << what << ", element " << i << ": off by " << f - e;
    }
  }
};

TEST_P(CudaConvolution, SumsOfALayerAreExact) {
  for (const Case& c : kLayers) {
    const Tensor x = make_eighths(c.x(), 1), w = make_eighths(c.w(), 2), bias = make_eighths({c.outputs}, 3);
    const Tensor dy = make_eighths(c.y(), 4);
    // Runs a pass on operands of `dtype`; `run(args, result, what)`.
    const auto forward = [&](const auto& run, DType dtype, const Tensor& y) {
      run(Conv2dForward{.x = as(dtype, x), .w = as(dtype, w), .bias = as(dtype, bias), .y = y, .geometry = c.geometry}, y, "y");
    };
    const auto backward_data = [&](const auto& run, DType dtype, const Tensor& dx) {
      run(Conv2dBackwardData{.dy = as(dtype, dy), .w = as(dtype, w), .dx = dx, .geometry = c.geometry}, dx, "dx");
    };
    const auto backward_weights = [&](const auto& run, DType dtype, const Tensor& dw, const Tensor& dbias) {
      run(Conv2dBackwardWeights{.x = as(dtype, x), .dy = as(dtype, dy), .dw = dw, .dbias = dbias, .geometry = c.geometry}, dw,
          "dw");
    };
    const Tensor y = make(DType::fp32, c.y()), dx = make(DType::fp32, c.x());
    const Tensor dw = make(DType::fp32, c.w()), dbias = make(DType::fp32, {c.outputs});
    const auto run_exactly = [&](const auto& args, const Tensor&, const char*) { run_oracle(args); };
    forward(run_exactly, DType::fp32, y);
    backward_data(run_exactly, DType::fp32, dx);
    backward_weights(run_exactly, DType::fp32, dw, dbias);
    for (const DType dtype : kFloatingTypes) {
      const std::string what = c.name + ", " + std::string(name(dtype)) + ", ";
      const auto expect_exact = [&](const Tensor& exact) {
        return [&](const auto& args, const Tensor& found, const char* result) {
          run_fast(args);
          expect_rounded(found, exact, what + result + " by " + engine_of(problem_of(args)));
        };
      };
      const Tensor found_dbias = make(dtype, {c.outputs});
      forward(expect_exact(y), dtype, make(dtype, c.y()));
      backward_data(expect_exact(dx), dtype, make(dtype, c.x()));
      backward_weights(expect_exact(dw), dtype, make(dtype, c.w()), found_dbias);
      expect_rounded(found_dbias, dbias, what + "dbias");
    }
  }
}

TEST_P(CudaConvolution, TwoRunsGiveEqualBits) {
  for (const Case& c : kLayers) {
    for (const DType dtype : kFloatingTypes) expect_equal_runs(c, dtype, c.name + ", " + std::string(name(dtype)));
  }
}

INSTANTIATE_TEST_SUITE_P(Cuda, CudaConvolution, testing::ValuesIn(aligned_set()), kernel_case::set_name);

TEST(CudaConvolutionArguments, RefusesWhatIsNotAlignedAndAWorkspaceThatIsTooSmall) {
  const auto device = make_cuda_backend({});
  // The weight gradient of a first layer takes a workspace on every architecture.
  const Case c{"first layer", 64, 28, 28, 1, 6, 5, 5, geometry(1, 2)};
  const auto tensor = [&](const Shape& shape) { return device->allocate_tensor(DType::fp16, shape, MemoryKind::workspace); };
  const Tensor x = tensor(c.x()), dw = tensor(c.w()), dy = tensor({c.y().elements() + 1});
  Conv2dBackwardWeights args{.x = x,
                             .dy = dy.view().slice(0, c.y().elements()).reshaped(c.y()),
                             .dw = dw,
                             .dbias = {},
                             .geometry = c.geometry,
                             .workspace = {}};
  ASSERT_GT(device->workspace_bytes(args), 0);
  EXPECT_THROW(device->prepare(args), InvalidArgument);
  const Tensor workspace = device->allocate_tensor(DType::uint8, {device->workspace_bytes(args)}, MemoryKind::workspace);
  args.workspace = workspace;
  EXPECT_NO_THROW(device->prepare(args));
  args.dy = dy.view().slice(1, c.y().elements() + 1).reshaped(c.y());
  EXPECT_THROW(device->prepare(args), InvalidArgument);
}

}  // namespace
}  // namespace minim::convolution_suite
