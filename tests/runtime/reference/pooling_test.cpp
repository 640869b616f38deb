#include "minim/runtime/kernels/pooling.h"

#include "runtime/reference/reference_case.h"

namespace minim {
namespace {

using Floats = std::vector<float>;
using Positions = std::vector<int>;

class ReferencePooling : public ReferenceCase {
 protected:
  static Positions positions(const Tensor& argmax) {
    const auto span = argmax.span<std::uint8_t>();
    return {span.begin(), span.end()};
  }
};

const PoolGeometry kTwoByTwo{};
const PoolGeometry kOverlapping{.window_h = 3, .window_w = 2, .stride_h = 2, .stride_w = 1, .pad_top = 1, .pad_right = 1};

TEST_F(ReferencePooling, MaxFindsTheLargestAndItsPlace) {
  const Tensor y = untouched({1, 1, 2, 1}), argmax = untouched({1, 1, 2, 1}, DType::uint8);
  run(MaxPoolForward{.x = tensor({1, 2, 4, 1}, {1, 2, -3, -5, 4, 3, -4, -9}), .y = y, .argmax = argmax, .geometry = kTwoByTwo});
  EXPECT_EQ(values(y), (Floats{4, -3}));
  EXPECT_EQ(positions(argmax), (Positions{2, 0}));
}

TEST_F(ReferencePooling, MaxTakesTheFirstAmongEquals) {
  const Tensor y = untouched({1, 1, 1, 1}), argmax = untouched({1, 1, 1, 1}, DType::uint8);
  run(MaxPoolForward{.x = tensor({1, 2, 2, 1}, {1, 5, 5, 5}), .y = y, .argmax = argmax, .geometry = kTwoByTwo});
  EXPECT_EQ(positions(argmax), Positions{1});
  run(MaxPoolForward{.x = tensor({1, 2, 2, 1}, Floats(4, -INFINITY)), .y = y, .argmax = argmax, .geometry = kTwoByTwo});
  EXPECT_EQ(values(y), Floats{-INFINITY});
  EXPECT_EQ(positions(argmax), Positions{0});
}

TEST_F(ReferencePooling, MaxLetsTheFirstNaNWin) {
  const Tensor y = untouched({1, 1, 1, 1}), argmax = untouched({1, 1, 1, 1}, DType::uint8);
  run(MaxPoolForward{.x = tensor({1, 2, 2, 1}, {INFINITY, NAN, NAN, INFINITY}), .y = y, .argmax = argmax, .geometry = kTwoByTwo});
  EXPECT_TRUE(std::isnan(values(y)[0]));
  EXPECT_EQ(positions(argmax), Positions{1});
}

TEST_F(ReferencePooling, MaxNeverTakesPadding) {
  const PoolGeometry padded{.pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};
  const Tensor y = untouched({1, 2, 2, 1}), argmax = untouched({1, 2, 2, 1}, DType::uint8);
  run(MaxPoolForward{.x = tensor({1, 2, 2, 1}, {-1, -2, -3, -4}), .y = y, .argmax = argmax, .geometry = padded});
  EXPECT_EQ(values(y), (Floats{-1, -2, -3, -4}));
  EXPECT_EQ(positions(argmax), (Positions{3, 2, 1, 0})) << "counted inside the window, padding included";
}

TEST_F(ReferencePooling, MaxKeepsChannelsApartAndNeedsNoPlace) {
  const Tensor y = untouched({1, 1, 1, 2});
  run(MaxPoolForward{.x = tensor({1, 1, 2, 2}, {1, 8, 2, 7}), .y = y, .geometry = {.window_h = 1}});
  EXPECT_EQ(values(y), (Floats{2, 8}));
}

TEST_F(ReferencePooling, MaxSumsGradientsOfAllWindowsThatAPlaceWon) {
  const PoolGeometry sliding{.window_h = 1, .window_w = 2, .stride_h = 1, .stride_w = 1};
  const Tensor y = untouched({1, 1, 3, 1}), argmax = untouched({1, 1, 3, 1}, DType::uint8), dx = untouched({1, 1, 4, 1});
  run(MaxPoolForward{.x = tensor({1, 1, 4, 1}, {1, 9, 2, 3}), .y = y, .argmax = argmax, .geometry = sliding});
  run(MaxPoolBackward{.dy = tensor({1, 1, 3, 1}, {10, 1, 5}), .argmax = argmax, .dx = dx, .geometry = sliding});
  EXPECT_EQ(values(dx), (Floats{0, 11, 0, 5}));
}

TEST_F(ReferencePooling, MaxHasTheGradientThatDifferencesShow) {
  const Shape x_shape{2, 4, 3, 2}, y_shape{2, 2, 3, 2};
  std::vector<float> distinct(48);  // neighbours differ by more than the step of the differences
  for (std::size_t i = 0; i < distinct.size(); ++i) distinct[i] = static_cast<float>(i * 29 % 48) / 8;
  const Tensor x = tensor(x_shape, distinct), dy = random(y_shape, 2), y = untouched(y_shape), dx = untouched(x_shape);
  const Tensor argmax = untouched(y_shape, DType::uint8);
  const auto loss = [&] {
    run(MaxPoolForward{.x = x, .y = y, .argmax = argmax, .geometry = kOverlapping});
    return dot(y, dy);
  };
  loss();
  run(MaxPoolBackward{.dy = dy, .argmax = argmax, .dx = dx, .geometry = kOverlapping});
  expect_gradient(x, dx, loss);
}

TEST_F(ReferencePooling, AverageDividesByTheWindowOrByWhatIsInside) {
  const PoolGeometry padded{.pad_left = 1, .pad_right = 1};
  const Tensor x = tensor({1, 2, 2, 1}, {1, 2, 3, 4}), y = untouched({1, 1, 2, 1});
  run(AveragePoolForward{.x = x, .y = y, .geometry = padded});
  EXPECT_EQ(values(y), (Floats{2, 3}));
  run(AveragePoolForward{.x = x, .y = y, .geometry = padded, .count_padding = true});
  EXPECT_EQ(values(y), (Floats{1, 1.5F}));
}

TEST_F(ReferencePooling, AverageHasTheGradientThatDifferencesShow) {
  const Shape x_shape{2, 4, 3, 2}, y_shape{2, 2, 3, 2};
  const Tensor x = random(x_shape, 1), dy = random(y_shape, 2), y = untouched(y_shape), dx = untouched(x_shape);
  for (const bool count_padding : {false, true}) {
    run(AveragePoolBackward{.dy = dy, .dx = dx, .geometry = kOverlapping, .count_padding = count_padding});
    expect_gradient(x, dx, [&] {
      run(AveragePoolForward{.x = x, .y = y, .geometry = kOverlapping, .count_padding = count_padding});
      return dot(y, dy);
    });
  }
}

TEST_F(ReferencePooling, GlobalAverageHasTheMeanAndItsGradient) {
  const Tensor y = untouched({1, 2}), dx = untouched({1, 2, 2, 2});
  run(GlobalAveragePoolForward{.x = tensor({1, 2, 2, 2}, {1, 10, 2, 20, 3, 30, 6, 60}), .y = y});
  EXPECT_EQ(values(y), (Floats{3, 30}));
  run(GlobalAveragePoolBackward{.dy = tensor({1, 2}, {4, 8}), .dx = dx});
  EXPECT_EQ(values(dx), (Floats{1, 2, 1, 2, 1, 2, 1, 2}));
}

TEST_F(ReferencePooling, DoesNothingWithoutSamples) {
  const Tensor x = untouched({0, 2, 2, 1}), y = untouched({0, 1, 1, 1}), argmax = untouched({0, 1, 1, 1}, DType::uint8);
  run(MaxPoolForward{.x = x, .y = y, .argmax = argmax, .geometry = kTwoByTwo});
  run(MaxPoolBackward{.dy = y, .argmax = argmax, .dx = x, .geometry = kTwoByTwo});
  run(AveragePoolForward{.x = x, .y = y, .geometry = kTwoByTwo});
  run(AveragePoolBackward{.dy = y, .dx = x, .geometry = kTwoByTwo});
}

TEST_F(ReferencePooling, RoundsOnlyWhatItStores) {
  const Shape x_shape{2, 4, 3, 2}, y_shape{2, 2, 3, 2};
  const auto results = [&](DType dtype) {
    const Tensor x = random(x_shape, 1, dtype), dy = random(y_shape, 2, dtype), y = untouched(y_shape, dtype);
    const Tensor dx = untouched(x_shape, dtype), mean = untouched({2, 2}, dtype), largest = untouched(y_shape, dtype);
    run(AveragePoolForward{.x = x, .y = y, .geometry = kOverlapping});
    run(AveragePoolBackward{.dy = dy, .dx = dx, .geometry = kOverlapping});
    run(GlobalAveragePoolForward{.x = x, .y = mean});
    run(MaxPoolForward{.x = x, .y = largest, .geometry = kOverlapping});
    return std::vector{values(y), values(dx), values(mean), values(largest)};
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
