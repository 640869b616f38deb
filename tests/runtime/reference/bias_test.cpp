#include "minim/runtime/kernels/bias.h"

#include "runtime/reference/reference_case.h"

namespace minim {
namespace {

using Floats = std::vector<float>;
class ReferenceBias : public ReferenceCase {};

TEST_F(ReferenceBias, IsAddedAlongTheLastDimension) {
  const Tensor y = tensor({2, 1, 3}, {1, 2, 3, 4, 5, 6});
  run(AddBias{.bias = tensor({3}, {10, 20, 30}), .y = y});
  EXPECT_EQ(values(y), (Floats{11, 22, 33, 14, 25, 36}));
}

TEST_F(ReferenceBias, GradientIsTheSumOfAllPositions) {
  const Tensor dy = tensor({2, 1, 3}, {1, 2, 3, 4, 5, 6}), dbias = untouched({3});
  run(BiasGradient{.dy = dy, .dbias = dbias, .workspace = {}});
  EXPECT_EQ(values(dbias), (Floats{5, 7, 9}));
  run(BiasGradient{.dy = dy, .dbias = dbias, .accumulate = true, .workspace = {}});
  EXPECT_EQ(values(dbias), (Floats{10, 14, 18}));
}

TEST_F(ReferenceBias, RoundsOnce) {
  // 2048 + 1 lies between two halves; three ones added to 2048 at once do not vanish.
  const Tensor dy = tensor({4, 1}, {2048, 1, 1, 1}, DType::fp16), dbias = untouched({1}, DType::fp16);
  run(BiasGradient{.dy = dy, .dbias = dbias, .workspace = {}});
  EXPECT_EQ(values(dbias), (Floats{2052}));
}

}  // namespace
}  // namespace minim
