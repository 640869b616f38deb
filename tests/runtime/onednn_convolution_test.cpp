#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "minim/runtime/kernels/convolution.h"
#include "onednn_case.h"

namespace minim {
namespace {

using namespace onednn_case;

struct Case {
  std::string name;
  std::int64_t samples, height, width, channels, outputs, kernel_height, kernel_width;
  Conv2dGeometry geometry;

  Shape x() const { return {samples, height, width, channels}; }
  Shape w() const { return {outputs, kernel_height, kernel_width, channels / geometry.groups}; }
  Shape y() const {
    const auto& g = geometry;
    return {samples, conv_output_size(height, kernel_height, g.stride_h, g.pad_top + g.pad_bottom, g.dilation_h),
            conv_output_size(width, kernel_width, g.stride_w, g.pad_left + g.pad_right, g.dilation_w), outputs};
  }
};

Conv2dGeometry geometry(std::int64_t stride, std::int64_t pad, std::int64_t groups = 1) {
  return {.stride_h = stride,
          .stride_w = stride,
          .pad_top = pad,
          .pad_left = pad,
          .pad_bottom = pad,
          .pad_right = pad,
          .groups = groups};
}

Case several_chunks() { return {"several chunks, the last short", 9, 28, 28, 16, 16, 3, 3, geometry(1, 1)}; }

std::vector<Case> cases() {
  return {
      {"3 x 3", 2, 7, 7, 16, 16, 3, 3, geometry(1, 1)},
      {"one channel", 3, 9, 8, 1, 6, 5, 5, geometry(1, 2)},
      {"stem of three channels", 2, 17, 17, 3, 16, 7, 7, geometry(2, 3)},
      {"1 x 1", 2, 5, 5, 20, 24, 1, 1, geometry(1, 0)},
      {"1 x 1, every other pixel", 2, 8, 8, 16, 32, 1, 1, geometry(2, 0)},
      {"dilated",
       1,
       11,
       9,
       8,
       8,
       3,
       3,
       {.pad_top = 2, .pad_left = 3, .pad_bottom = 2, .pad_right = 3, .dilation_h = 2, .dilation_w = 3}},
      {"asymmetric", 2, 6, 7, 5, 7, 2, 3, {.stride_h = 2, .pad_left = 1, .pad_bottom = 1}},
      {"wide kernel", 1, 6, 6, 8, 4, 1, 5, {.pad_left = 2, .pad_right = 2}},
      {"two groups", 2, 6, 6, 8, 6, 3, 3, geometry(1, 1, 2)},
      {"depthwise", 2, 9, 9, 12, 12, 3, 3, geometry(2, 1, 12)},
      {"depthwise, two outputs each", 1, 7, 7, 8, 16, 3, 3, geometry(1, 1, 8)},
      {"stride beyond kernel", 2, 10, 10, 4, 8, 2, 2, geometry(3, 0)},
      {"odd channels", 1, 5, 5, 17, 33, 3, 3, geometry(1, 1)},
      several_chunks(),
      {"long sums", 1, 4, 4, 256, 40, 3, 3, geometry(1, 1)},
      {"long sums, 1 x 1", 1, 3, 3, 1024, 40, 1, 1, geometry(1, 0)},
      {"one pixel", 1, 1, 1, 1, 1, 1, 1, geometry(1, 0)},
  };
}

/// One extent, or all samples, missing: there are outputs or gradients all the same, but no products.
std::vector<Case> empty_cases() {
  return {
      {"no samples", 0, 7, 7, 16, 12, 3, 3, geometry(1, 1)},
      {"no channels", 2, 7, 7, 0, 12, 3, 3, geometry(1, 1)},
      {"no outputs", 2, 7, 7, 16, 0, 3, 3, geometry(1, 1)},
      {"no rows, but padding", 2, 0, 7, 16, 12, 3, 3, geometry(1, 2)},
      {"no columns, but padding", 2, 7, 0, 16, 12, 3, 3, geometry(1, 2)},
      {"no window", 2, 7, 7, 16, 12, 0, 3, geometry(1, 1)},
      {"window beyond the image", 2, 2, 2, 16, 12, 3, 3, geometry(1, 0)},
      {"nothing at all", 0, 0, 0, 0, 0, 0, 0, geometry(1, 0)},
      {"no channels in groups", 2, 7, 7, 0, 12, 3, 3, geometry(1, 1, 2)},
  };
}

/// Calls `body(case, dtype)` for all of both.
template <class Body>
void for_all(const std::vector<Case>& list, const Body& body) {
  for (const Case& c : list) {
    for (const DType dtype : kDTypes) {
      SCOPED_TRACE(c.name + ", " + std::string(name(dtype)));
      body(c, dtype);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

// Each makes what runs one pass over a case and returns its results.

auto forward(const Case& c) {
  return [c](const Operands& make, Stream& stream, DType dtype) {
    const Tensor x = make.of(1, dtype, c.x()), w = make.of(2, dtype, c.w()), bias = make.of(3, dtype, {c.outputs});
    const Tensor y = make.of(4, dtype, c.y());
    run_guarded(make.backend, stream,
                Conv2dForward{.x = x, .w = w, .bias = bias, .y = y, .geometry = c.geometry, .workspace = {}});
    return values(y);
  };
}

auto backward_data(const Case& c) {
  return [c](const Operands& make, Stream& stream, DType dtype) {
    const Tensor dy = make.of(1, dtype, c.y()), w = make.of(2, dtype, c.w()), dx = make.of(3, dtype, c.x());
    run_guarded(make.backend, stream, Conv2dBackwardData{.dy = dy, .w = w, .dx = dx, .geometry = c.geometry, .workspace = {}});
    return values(dx);
  };
}

auto backward_weights(const Case& c, bool accumulate) {
  return [c, accumulate](const Operands& make, Stream& stream, DType dtype) {
    const Tensor x = make.of(1, dtype, c.x()), dy = make.of(2, dtype, c.y());
    const Tensor dw = make.of(3, dtype, c.w()), dbias = make.of(4, dtype, {c.outputs});
    run_guarded(
        make.backend, stream,
        Conv2dBackwardWeights{
            .x = x, .dy = dy, .dw = dw, .dbias = dbias, .geometry = c.geometry, .accumulate = accumulate, .workspace = {}});
    return Gradients{values(dw), values(dbias)};
  };
}

TEST(OnednnConvolution, ForwardAccumulatesInFp32AndRoundsOnce) {
  const Backends backends;
  for_all(cases(),
          [&](const Case& c, DType dtype) { expect_like_reference(backends, dtype, c.w().elements_per_sample(), forward(c)); });
}

TEST(OnednnConvolution, BackwardDataAccumulatesInFp32AndRoundsOnce) {
  const Backends backends;
  for_all(cases(), [&](const Case& c, DType dtype) {
    const std::int64_t products = c.outputs / c.geometry.groups * c.kernel_height * c.kernel_width;
    expect_like_reference(backends, dtype, products, backward_data(c));
  });
}

TEST(OnednnConvolution, WeightGradientsAreSummedOverChunksInFp32AndRoundedOnce) {
  const Backends backends;
  for_all(cases(), [&](const Case& c, DType dtype) {
    expect_like_reference(backends, dtype, c.y().elements() / c.outputs, backward_weights(c, false));
  });
}

TEST(OnednnConvolution, OldWeightGradientsAreAddedBeforeRounding) {
  const Backends backends;
  for_all(cases(), [&](const Case& c, DType dtype) {
    expect_like_reference(backends, dtype, c.y().elements() / c.outputs, backward_weights(c, true));
  });
}

TEST(OnednnConvolution, TwoRunsOnTwoThreadsGiveEqualBits) {
  const Backends backends(2);
  const Case c = several_chunks();
  for (const DType dtype : kDTypes) {
    expect_equal_runs(backends, dtype, forward(c));
    expect_equal_runs(backends, dtype, backward_data(c));
    expect_equal_runs(backends, dtype, backward_weights(c, false));
  }
}

TEST(OnednnConvolution, LaunchesOfOneCallSeeTheirInputsAsTheyAreThen) {
  const Backends backends;
  const Case c = cases().front();
  for (const DType dtype : kDTypes) {
    const Operands make{*backends.cpu, dtype};
    const Tensor x = make.of(1, dtype, c.x()), w = make.of(2, dtype, c.w()), y = make.of(3, dtype, c.y());
    Conv2dForward args{.x = x, .w = w, .bias = {}, .y = y, .geometry = c.geometry, .workspace = {}};
    const GuardedWorkspace workspace(*backends.cpu, backends.cpu->workspace_bytes(args));
    args.workspace = workspace.view();
    const auto call = backends.cpu->prepare(args);
    call->launch(*backends.cpu_stream);
    backends.cpu_stream->synchronize();
    const auto before = values(y);
    EXPECT_NE(before, std::vector<float>(before.size()));
    std::memset(w.view().raw(), 0, static_cast<std::size_t>(w.view().size_bytes()));
    call->launch(*backends.cpu_stream);
    backends.cpu_stream->synchronize();
    EXPECT_EQ(values(y), std::vector<float>(before.size()));
  }
}

TEST(OnednnConvolution, WithoutProductsOutputsAreTheBiasAndGradientsWhatTheReferenceSays) {
  const Backends backends;
  for_all(empty_cases(), [&](const Case& c, DType dtype) {
    const std::int64_t positions = c.outputs == 0 ? 0 : c.y().elements() / c.outputs;
    expect_like_reference(backends, dtype, 0, forward(c));
    expect_like_reference(backends, dtype, 0, backward_data(c));
    expect_like_reference(backends, dtype, positions, backward_weights(c, false));
    expect_like_reference(backends, dtype, positions, backward_weights(c, true));
  });
}

TEST(OnednnConvolution, WithoutProductsAndBiasOutputsAreZero) {
  const Backends backends;
  Case c = cases().front();
  c.channels = 0;
  for (const DType dtype : kDTypes) {
    const Operands make{*backends.cpu, dtype};
    const Tensor x = make.of(1, dtype, c.x()), w = make.of(2, dtype, c.w()), y = make.of(3, dtype, c.y());
    run_guarded(*backends.cpu, *backends.cpu_stream,
                Conv2dForward{.x = x, .w = w, .bias = {}, .y = y, .geometry = c.geometry, .workspace = {}});
    EXPECT_EQ(values(y), std::vector<float>(static_cast<std::size_t>(y.elements())));
  }
}

TEST(OnednnConvolution, WorkspaceOfFp16DoesNotGrowWithTheBatch) {
  const Backends backends;
  Case c = cases().front();
  c.samples = 1 << 16;  // 400 MiB in FP32
  const auto view = [](const Shape& shape) { return TensorView(nullptr, DType::fp16, shape); };
  // Images of a chunk, less than 1 MiB; the weights in two layouts and oneDNN's own scratch, some kB at 16 channels.
  constexpr std::int64_t kMostBytes = 2 << 20;
  EXPECT_LE(backends.cpu->workspace_bytes(Conv2dForward{
                .x = view(c.x()), .w = view(c.w()), .bias = {}, .y = view(c.y()), .geometry = c.geometry, .workspace = {}}),
            kMostBytes);
  EXPECT_LE(backends.cpu->workspace_bytes(Conv2dBackwardWeights{
                .x = view(c.x()), .dy = view(c.y()), .dw = view(c.w()), .dbias = {}, .geometry = c.geometry, .workspace = {}}),
            kMostBytes);
}

TEST(OnednnConvolution, RefusesMoreWeightsThanOnednnCountsInEveryPass) {
  const Backends backends;
  const auto view = [](const Shape& shape) { return TensorView(nullptr, DType::fp16, shape); };
  const TensorView image = view({1, 4, 4, 1 << 19}), weights = view({1 << 19, 3, 3, 1 << 19});
  const Conv2dGeometry same{.pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};
  const auto refuses = [&](const auto& args) { EXPECT_THROW(backends.cpu->workspace_bytes(args), InvalidArgument); };
  refuses(Conv2dForward{.x = image, .w = weights, .bias = {}, .y = image, .geometry = same, .workspace = {}});
  refuses(Conv2dBackwardData{.dy = image, .w = weights, .dx = image, .geometry = same, .workspace = {}});
  refuses(Conv2dBackwardWeights{.x = image, .dy = image, .dw = weights, .dbias = {}, .geometry = same, .workspace = {}});
}

TEST(OnednnConvolution, RefusesAWorkspaceThatIsTooSmall) {
  const Backends backends;
  const Case c = cases().front();
  const Operands make{*backends.cpu, DType::fp16};
  const Tensor x = make.of(1, DType::fp16, c.x()), w = make.of(2, DType::fp16, c.w()), y = make.of(3, DType::fp16, c.y());
  const Conv2dForward args{.x = x, .w = w, .bias = {}, .y = y, .geometry = c.geometry, .workspace = {}};
  EXPECT_THROW(backends.cpu->prepare(args), InvalidArgument);
}

}  // namespace
}  // namespace minim
