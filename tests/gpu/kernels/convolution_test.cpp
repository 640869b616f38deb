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
      ASSERT_EQ(kernel_case::value_at(found, i), kernel_case::value_at(wanted, i)) << what << ", element " << i;
    }
  }
};

TEST_P(CudaConvolution, SumsOfALayerAreExact) {
  for (const Case& c : kLayers) {
    const Tensor x = make_eighths(c.x(), 1), w = make_eighths(c.w(), 2), bias = make_eighths({c.outputs}, 3);
    const Tensor dy = make_eighths(c.y(), 4), old_dw = make_eighths(c.w(), 5), old_dbias = make_eighths({c.outputs}, 6);
    const Tensor y = make(DType::fp32, c.y()), dx = make(DType::fp32, c.x());
    const Tensor dw = as(DType::fp32, old_dw), dbias = as(DType::fp32, old_dbias);
    const auto run_all = [&](const auto& run, DType dtype, const Tensor& y_, const Tensor& dx_, const Gradients& gradients) {
      const Tensor x_ = as(dtype, x), w_ = as(dtype, w), bias_ = as(dtype, bias), dy_ = as(dtype, dy);
      run(Conv2dForward{.x = x_, .w = w_, .bias = bias_, .y = y_, .geometry = c.geometry, .workspace = {}});
      run(Conv2dBackwardData{.dy = dy_, .w = w_, .dx = dx_, .geometry = c.geometry, .workspace = {}});
      run(Conv2dBackwardWeights{.x = x_,
                                .dy = dy_,
                                .dw = gradients.dw,
                                .dbias = gradients.dbias,
                                .geometry = c.geometry,
                                .accumulate = true,
                                .workspace = {}});
    };
    run_all([&](const auto& args) { run_oracle(args); }, DType::fp32, y, dx, {dw, dbias});
    for (const DType dtype : kFloatingTypes) {
      const std::string what = c.name + ", " + std::string(name(dtype));
      const Tensor found_y = make(dtype, c.y()), found_dx = make(dtype, c.x());
      const Gradients found{as(dtype, old_dw), as(dtype, old_dbias)};
      run_all([&](const auto& args) { run_fast(args); }, dtype, found_y, found_dx, found);
      expect_rounded(found_y, y, what + ", y");
      expect_rounded(found_dx, dx, what + ", dx");
      expect_rounded(found.dw, dw, what + ", dw");
      expect_rounded(found.dbias, dbias, what + ", dbias");
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
