#include "minim/runtime/kernels/nonlinearity.h"

#include <limits>

#include "runtime/reference/reference_case.h"

namespace minim {
namespace {

using Kind = Nonlinearity::Kind;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

class ReferenceNonlinearity : public ReferenceCase {
 protected:
  std::vector<float> apply(const Nonlinearity& function, const std::vector<float>& values_of_x, DType dtype = DType::fp32) {
    const Shape shape{static_cast<std::int64_t>(values_of_x.size())};
    const Tensor y = untouched(shape, dtype);
    run(NonlinearityForward{.x = tensor(shape, values_of_x, dtype), .y = y, .function = function});
    return values(y);
  }
};

TEST_F(ReferenceNonlinearity, HasTheValuesOfTables) {
  const auto expect = [&](Kind kind, const std::vector<float>& x, const std::vector<float>& wanted) {
    const std::vector<float> found = apply({.kind = kind, .slope = 0.25}, x);
    for (std::size_t i = 0; i < x.size(); ++i) EXPECT_FLOAT_EQ(found[i], wanted[i]) << "at " << x[i];
  };
  expect(Kind::leaky_relu, {2, 0, -2, kInfinity, -kInfinity}, {2, 0, -0.5F, kInfinity, -kInfinity});
  expect(Kind::sigmoid, {0, 1, -1, kInfinity, -kInfinity}, {0.5F, 0.7310585786F, 0.2689414214F, 1, 0});
  expect(Kind::tanh, {0, 1, -0.5F, kInfinity, -kInfinity}, {0, 0.7615941560F, -0.4621171573F, 1, -1});
  // x times the normal distribution: 0.8413447461 at 1, 0.0227501319 at -2.
  expect(Kind::gelu, {0, 1, -2, kInfinity, -kInfinity}, {0, 0.8413447461F, -0.0455002639F, kInfinity, 0});
}

TEST_F(ReferenceNonlinearity, KeepsNaN) {
  for (const Kind kind : {Kind::leaky_relu, Kind::sigmoid, Kind::tanh, Kind::gelu}) {
    EXPECT_TRUE(std::isnan(apply({.kind = kind}, {kNaN})[0]));
    const Tensor dx = untouched({1});
    run(NonlinearityBackward{.value = tensor({1}, {0.5F}), .dy = tensor({1}, {kNaN}), .dx = dx, .function = {.kind = kind}});
    EXPECT_TRUE(std::isnan(values(dx)[0]));
  }
}

TEST_F(ReferenceNonlinearity, RoundsOnceToLowPrecision) {
  for (const DType dtype : kLowPrecision) {
    EXPECT_EQ(apply({.kind = Kind::sigmoid}, {1}, dtype), rounded({0.7310585786F}, dtype));
    EXPECT_EQ(apply({.kind = Kind::gelu}, {-2}, dtype), rounded({-0.0455002639F}, dtype));
  }
}

TEST_F(ReferenceNonlinearity, GradientEqualsDifferences) {
  for (const Kind kind : {Kind::leaky_relu, Kind::sigmoid, Kind::tanh, Kind::gelu}) {
    const Nonlinearity function{.kind = kind, .slope = 0.25};
    // No closer to the kink of the leaky ReLU than the differences reach.
    const Tensor x = tensor({6}, {-2.5F, -0.75F, -0.0625F, 0.0625F, 0.5F, 3}), c = random({6}, 1);
    const Tensor y = untouched({6}), dx = untouched({6});
    const auto forward = [&] { run(NonlinearityForward{.x = x, .y = y, .function = function}); };
    forward();
    run(NonlinearityBackward{.value = function.derives_from_input() ? x : y, .dy = c, .dx = dx, .function = function});
    expect_gradient(x, dx, [&] {
      forward();
      return dot(c, y);
    });
  }
}

TEST_F(ReferenceNonlinearity, DerivativeOfGeluIsThatOfItsLimits) {
  const Tensor dx = untouched({2});
  run(NonlinearityBackward{
      .value = tensor({2}, {-kInfinity, kInfinity}), .dy = tensor({2}, {3, 3}), .dx = dx, .function = {.kind = Kind::gelu}});
  EXPECT_EQ(values(dx), (std::vector<float>{0, 3}));
}

}  // namespace
}  // namespace minim
