#include "minim/runtime/kernels/local_response_norm.h"

#include "runtime/reference/reference_case.h"

namespace minim {
namespace {

using Floats = std::vector<float>;

class ReferenceLocalResponseNorm : public ReferenceCase {};

constexpr ResponseWindow kThree{.size = 3, .alpha = 3, .beta = 0.5, .k = 2};  // share 1

TEST_F(ReferenceLocalResponseNorm, DividesByTheSquaresOfNeighbours) {
  const Tensor y = untouched({1, 1, 1, 4});
  run(LocalResponseNormForward{.x = tensor({1, 1, 1, 4}, {1, -1, 3, 4}), .y = y, .window = kThree});
  // s = 2 + 1 + 1, 2 + 1 + 1 + 9, 2 + 1 + 9 + 16, 2 + 9 + 16.
  const Floats wanted{1 / 2.0F, -1 / std::sqrt(13.0F), 3 / std::sqrt(28.0F), 4 / std::sqrt(27.0F)};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_FLOAT_EQ(values(y)[i], wanted[i]) << i;
}

TEST_F(ReferenceLocalResponseNorm, KeepsPositionsApart) {
  const Tensor y = untouched({1, 1, 2, 1});
  run(LocalResponseNormForward{.x = tensor({1, 1, 2, 1}, {2, 1}), .y = y, .window = {.size = 3, .alpha = 3, .beta = 1, .k = 1}});
  EXPECT_EQ(values(y), (Floats{2 / 5.0F, 1 / 2.0F}));
}

TEST_F(ReferenceLocalResponseNorm, GradientReachesNeighbours) {
  const Tensor dx = untouched({1, 1, 1, 2});
  // y0 = x0 s^-1/2 with s = 2 + x0^2 + x1^2 = 7: dy0/dx0 = s^-1/2 - x0^2 s^-3/2, dy0/dx1 = -x0 x1 s^-3/2.
  run(LocalResponseNormBackward{
      .x = tensor({1, 1, 1, 2}, {1, 2}), .dy = tensor({1, 1, 1, 2}, {1, 0}), .dx = dx, .window = kThree});
  EXPECT_FLOAT_EQ(values(dx)[0], static_cast<float>(6 * std::pow(7.0, -1.5)));
  EXPECT_FLOAT_EQ(values(dx)[1], static_cast<float>(-2 * std::pow(7.0, -1.5)));
}

}  // namespace
}  // namespace minim
