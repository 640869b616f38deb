#include "minim/runtime/kernels/layer_norm.h"

#include "runtime/reference/reference_case.h"

namespace minim {
namespace {

class ReferenceLayerNorm : public ReferenceCase {
 protected:
  void forward(const Tensor& x, const Tensor& y) {
    run(LayerNormForward{.x = x, .gamma = gamma_, .beta = beta_, .y = y, .mean = mean_, .rstd = rstd_, .epsilon = 0.5});
  }

  Tensor gamma_ = tensor({4}, {1, 2, -1, 0.5F}), beta_ = tensor({4}, {0, 1, 2, 3});
  Tensor mean_ = untouched({2}), rstd_ = untouched({2});
};

TEST_F(ReferenceLayerNorm, NormalisesEachRow) {
  const Tensor y = untouched({2, 4});
  forward(tensor({2, 4}, {1, 3, 1, 3, -2, 2, 6, 10}), y);
  // Means 2 and 4, variances 1 and 20.
  const auto a = static_cast<float>(1 / std::sqrt(1.5)), b = static_cast<float>(1 / std::sqrt(20.5));
  EXPECT_EQ(values(mean_), (std::vector<float>{2, 4}));
  EXPECT_FLOAT_EQ(values(rstd_)[0], a);
  EXPECT_FLOAT_EQ(values(rstd_)[1], b);
  const std::vector<float> wanted{-a, 1 + 2 * a, 2 + a, 3 + a / 2, -6 * b, 1 - 4 * b, 2 - 2 * b, 3 + 3 * b};
  for (std::size_t i = 0; i < 8; ++i) EXPECT_FLOAT_EQ(values(y)[i], wanted[i]) << i;
}

TEST_F(ReferenceLayerNorm, GradientsEqualDifferences) {
  const Tensor x = random({2, 4}, 1), c = random({2, 4}, 2), y = untouched({2, 4}), dx = untouched({2, 4});
  const Tensor dgamma = tensor({4}, {1, 1, 1, 1}), dbeta = tensor({4}, {1, 1, 1, 1});
  const auto loss = [&] {
    forward(x, y);
    return dot(c, y);
  };
  loss();
  run(LayerNormBackwardData{.x = x, .dy = c, .gamma = gamma_, .mean = mean_, .rstd = rstd_, .dx = dx});
  run(LayerNormBackwardWeights{.x = x, .dy = c, .mean = mean_, .rstd = rstd_, .dgamma = dgamma, .dbeta = dbeta, .workspace = {}});
  expect_gradient(x, dx, loss);
  expect_gradient(gamma_, dgamma, loss);
  expect_gradient(beta_, dbeta, loss);
}

TEST_F(ReferenceLayerNorm, AddsToOldGradients) {
  const Tensor x = random({2, 4}, 1), y = untouched({2, 4}), once = untouched({4}), again = untouched({4});
  forward(x, y);
  const auto backward = [&](bool accumulate) {
    run(LayerNormBackwardWeights{.x = x,
                                 .dy = x,
                                 .mean = mean_,
                                 .rstd = rstd_,
                                 .dgamma = once,
                                 .dbeta = again,
                                 .accumulate = accumulate,
                                 .workspace = {}});
  };
  backward(false);
  const std::vector<float> dgamma = values(once), dbeta = values(again);
  backward(true);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_FLOAT_EQ(values(once)[i], 2 * dgamma[i]);
    EXPECT_FLOAT_EQ(values(again)[i], 2 * dbeta[i]);
  }
}

}  // namespace
}  // namespace minim
