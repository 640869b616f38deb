#include "minim/runtime/kernels/linear.h"

#include "runtime/reference/reference_case.h"

namespace minim {
namespace {

using Floats = std::vector<float>;
using ReferenceLinear = ReferenceCase;

TEST_F(ReferenceLinear, MultipliesByTheTransposedWeight) {
  const Tensor x = tensor({2, 3}, {1, 2, 3, 4, 5, 6}), w = tensor({2, 3}, {1, 10, 100, 1, 0, -1}), y = untouched({2, 2});
  run(LinearForward{.x = x, .w = w, .y = y});
  EXPECT_EQ(values(y), (Floats{321, -2, 654, -2}));
  run(LinearForward{.x = x, .w = w, .bias = tensor({2}, {1000, 2}), .y = y});
  EXPECT_EQ(values(y), (Floats{1321, 0, 1654, 0}));
}

TEST_F(ReferenceLinear, AppliesTheActivationToWhatItStores) {
  const Tensor x = tensor({2, 1}, {1, NAN}), w = tensor({2, 1}, {1, -1}), y = untouched({2, 2});
  run(LinearForward{.x = x, .w = w, .y = y, .activation = Activation::relu});
  EXPECT_EQ(values(y)[0], 1);
  EXPECT_EQ(values(y)[1], 0);
  EXPECT_TRUE(std::isnan(values(y)[2]) && std::isnan(values(y)[3]));
  run(LinearForward{.x = x, .w = w, .bias = tensor({2}, {-2, 3}), .y = y, .activation = Activation::relu});
  EXPECT_EQ(values(y)[0], 0);
  EXPECT_EQ(values(y)[1], 2);
}

TEST_F(ReferenceLinear, HasTheGradientsThatDifferencesShow) {
  const Tensor x = random({3, 4}, 1), w = random({5, 4}, 2), bias = random({5}, 3), dy = random({3, 5}, 4), y = untouched({3, 5});
  const Tensor dx = untouched({3, 4}), dw = untouched({5, 4}), dbias = untouched({5});
  run(LinearBackwardData{.dy = dy, .w = w, .dx = dx});
  run(LinearBackwardWeights{.x = x, .dy = dy, .dw = dw, .dbias = dbias});
  const auto loss = [&] {
    run(LinearForward{.x = x, .w = w, .bias = bias, .y = y});
    return dot(y, dy);
  };
  expect_gradient(x, dx, loss);
  expect_gradient(w, dw, loss);
  expect_gradient(bias, dbias, loss);
}

TEST_F(ReferenceLinear, AddsToTheOldGradientBeforeRounding) {
  // 2048 + (1 + 2^-12) rounds up to 2050; 1 + 2^-12 rounded to 1 first would leave a tie that goes down to 2048.
  const Tensor x = tensor({2, 1}, {1, 0x1p-12F}, DType::fp16), dy = tensor({2, 1}, {1, 1}, DType::fp16);
  const Tensor dw = tensor({1, 1}, {2048}, DType::fp16), dbias = tensor({1}, {3}, DType::fp16);
  run(LinearBackwardWeights{.x = x, .dy = dy, .dw = dw, .dbias = dbias, .accumulate = true});
  EXPECT_EQ(values(dw), Floats{2050});
  EXPECT_EQ(values(dbias), Floats{5});
  run(LinearBackwardWeights{.x = x, .dy = dy, .dw = dw});
  EXPECT_EQ(values(dw), Floats{1}) << "without `accumulate` the old value is gone";
  EXPECT_EQ(values(dbias), Floats{5}) << "it was left out";
}

TEST_F(ReferenceLinear, HasGradientsOfZeroWithoutSamples) {
  const Tensor x = untouched({0, 2}), y = untouched({0, 3}), w = random({3, 2}, 1), dw = untouched({3, 2}),
               dbias = untouched({3});
  run(LinearForward{.x = x, .w = w, .y = y});
  run(LinearBackwardData{.dy = y, .w = w, .dx = x});
  run(LinearBackwardWeights{.x = x, .dy = y, .dw = dw, .dbias = dbias});
  EXPECT_EQ(values(dw), Floats(6, 0));
  EXPECT_EQ(values(dbias), Floats(3, 0));
}

TEST_F(ReferenceLinear, RoundsOnlyWhatItStores) {
  const auto results = [&](DType dtype) {
    const Tensor x = random({4, 30}, 1, dtype), w = random({7, 30}, 2, dtype), dy = random({4, 7}, 3, dtype);
    const Tensor y = untouched({4, 7}, dtype), dx = untouched({4, 30}, dtype), dw = untouched({7, 30}, dtype);
    run(LinearForward{.x = x, .w = w, .y = y});
    run(LinearBackwardData{.dy = dy, .w = w, .dx = dx});
    run(LinearBackwardWeights{.x = x, .dy = dy, .dw = dw});
    return std::vector{values(y), values(dx), values(dw)};
  };
  const auto exact = results(DType::fp32);
  for (const DType dtype : kLowPrecision) {
    const auto found = results(dtype);
    for (std::size_t i = 0; i < exact.size(); ++i)
      EXPECT_EQ(found[i], rounded(exact[i], dtype)) << name(dtype) << ", result " << i;
  }
}

}  // namespace
}  // namespace minim
