#include <gtest/gtest.h>

#include <string>

#include "minim/runtime/kernels/linear.h"
#include "onednn_case.h"

namespace minim {
namespace {

using namespace onednn_case;

struct Case {
  std::int64_t samples, inputs, outputs;

  Shape x() const { return {samples, inputs}; }
  Shape w() const { return {outputs, inputs}; }
  Shape y() const { return {samples, outputs}; }
};

/// One tile; several along the rows and columns of a result; three along the sums of each pass in turn.
constexpr Case kCases[] = {{1, 1, 1},      {3, 5, 7},    {64, 84, 10},    {17, 700, 300},  {300, 33, 20},
                           {270, 40, 530}, {20, 3, 600}, {17, 1450, 256}, {17, 256, 1450}, {1450, 256, 17}};

/// One extent missing, or all: there are outputs or gradients all the same, but no products.
constexpr Case kEmptyCases[] = {{0, 5, 7}, {3, 0, 7}, {3, 5, 0}, {0, 0, 7}, {3, 0, 0}, {0, 0, 0}};

template <class Body>
void for_all(std::span<const Case> cases, const Body& body) {
  for (const Case& c : cases) {
    for (const DType dtype : kDTypes) {
      SCOPED_TRACE(c.y().to_string() + " = " + c.x().to_string() + " x " + c.w().to_string() + ", " + std::string(name(dtype)));
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
    run_guarded(make.backend, stream, LinearForward{.x = x, .w = w, .bias = bias, .y = y, .workspace = {}});
    return values(y);
  };
}

auto backward_data(const Case& c) {
  return [c](const Operands& make, Stream& stream, DType dtype) {
    const Tensor dy = make.of(1, dtype, c.y()), w = make.of(2, dtype, c.w()), dx = make.of(3, dtype, c.x());
    run_guarded(make.backend, stream, LinearBackwardData{.dy = dy, .w = w, .dx = dx, .workspace = {}});
    return values(dx);
  };
}

auto backward_weights(const Case& c, bool accumulate) {
  return [c, accumulate](const Operands& make, Stream& stream, DType dtype) {
    const Tensor x = make.of(1, dtype, c.x()), dy = make.of(2, dtype, c.y());
    const Tensor dw = make.of(3, dtype, c.w()), dbias = make.of(4, dtype, {c.outputs});
    run_guarded(make.backend, stream,
                LinearBackwardWeights{.x = x, .dy = dy, .dw = dw, .dbias = dbias, .accumulate = accumulate, .workspace = {}});
    return Gradients{values(dw), values(dbias)};
  };
}

TEST(OnednnLinear, ForwardAccumulatesInFp32AndRoundsOnce) {
  const Backends backends;
  for_all(kCases, [&](const Case& c, DType dtype) { expect_like_reference(backends, dtype, c.inputs, forward(c)); });
}

TEST(OnednnLinear, BackwardDataAccumulatesInFp32AndRoundsOnce) {
  const Backends backends;
  for_all(kCases, [&](const Case& c, DType dtype) { expect_like_reference(backends, dtype, c.outputs, backward_data(c)); });
}

TEST(OnednnLinear, GradientsAreSummedInFp32AndRoundedOnce) {
  const Backends backends;
  for_all(kCases,
          [&](const Case& c, DType dtype) { expect_like_reference(backends, dtype, c.samples, backward_weights(c, false)); });
}

TEST(OnednnLinear, OldGradientsAreAddedBeforeRounding) {
  const Backends backends;
  for_all(kCases,
          [&](const Case& c, DType dtype) { expect_like_reference(backends, dtype, c.samples, backward_weights(c, true)); });
}

TEST(OnednnLinear, TwoRunsOnTwoThreadsGiveEqualBits) {
  const Backends backends(2);
  const Case c{270, 40, 530};
  for (const DType dtype : kDTypes) {
    expect_equal_runs(backends, dtype, forward(c));
    expect_equal_runs(backends, dtype, backward_data(c));
    expect_equal_runs(backends, dtype, backward_weights(c, false));
  }
}

TEST(OnednnLinear, WithoutProductsOutputsAreTheBiasAndGradientsWhatTheReferenceSays) {
  const Backends backends;
  for_all(kEmptyCases, [&](const Case& c, DType dtype) {
    expect_like_reference(backends, dtype, 0, forward(c));
    expect_like_reference(backends, dtype, 0, backward_data(c));
    expect_like_reference(backends, dtype, c.samples, backward_weights(c, false));
    expect_like_reference(backends, dtype, c.samples, backward_weights(c, true));
  });
}

TEST(OnednnLinear, WithoutProductsAndBiasOutputsAreZero) {
  const Backends backends;
  for (const DType dtype : kDTypes) {
    const Operands make{*backends.cpu, dtype};
    const Tensor x = make.of(1, dtype, {3, 0}), w = make.of(2, dtype, {7, 0}), y = make.of(3, dtype, {3, 7});
    run_guarded(*backends.cpu, *backends.cpu_stream, LinearForward{.x = x, .w = w, .bias = {}, .y = y, .workspace = {}});
    EXPECT_EQ(values(y), std::vector<float>(21));
  }
}

TEST(OnednnLinear, WorkspaceStaysBoundedForWideLayers) {
  const Backends backends;
  const Case c{4096, 25088, 4096};
  const auto view = [](const Shape& shape) { return TensorView(nullptr, DType::fp16, shape); };
  // The tiles of the three matrices in FP32, 1 MiB, and what oneDNN itself asks for on top of them.
  constexpr std::int64_t kMostBytes = 4 << 20;
  EXPECT_LE(backends.cpu->workspace_bytes(
                LinearForward{.x = view(c.x()), .w = view(c.w()), .bias = {}, .y = view(c.y()), .workspace = {}}),
            kMostBytes);
  EXPECT_LE(backends.cpu->workspace_bytes(
                LinearBackwardWeights{.x = view(c.x()), .dy = view(c.y()), .dw = view(c.w()), .dbias = {}, .workspace = {}}),
            kMostBytes);
}

TEST(OnednnLinear, RefusesAWorkspaceThatIsTooSmall) {
  const Backends backends;
  const Operands make{*backends.cpu, DType::fp16};
  const Tensor x = make.of(1, DType::fp16, {2, 3}), w = make.of(2, DType::fp16, {4, 3}), y = make.of(3, DType::fp16, {2, 4});
  EXPECT_THROW(backends.cpu->prepare(LinearForward{.x = x, .w = w, .bias = {}, .y = y, .workspace = {}}), InvalidArgument);
}

}  // namespace
}  // namespace minim
