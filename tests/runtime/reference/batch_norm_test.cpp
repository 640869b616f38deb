#include "minim/runtime/kernels/batch_norm.h"

#include <cmath>

#include "runtime/reference/reference_case.h"

namespace minim {
namespace {

using Floats = std::vector<float>;

class ReferenceBatchNorm : public ReferenceCase {
 protected:
  void forward(const Tensor& x, const Tensor& y, const Tensor& valid_samples) {
    run(BatchNormForward{.x = x,
                         .gamma = gamma_,
                         .beta = beta_,
                         .y = y,
                         .mean = mean_,
                         .rstd = rstd_,
                         .running_mean = running_mean_,
                         .running_variance = running_variance_,
                         .momentum = 0.25,
                         .epsilon = 0,
                         .valid_samples = valid_samples});
  }

  Tensor gamma_ = tensor({1}, {2}), beta_ = tensor({1}, {10}), mean_ = tensor({1}, {-7}), rstd_ = tensor({1}, {-7});
  Tensor running_mean_ = tensor({1}, {4}), running_variance_ = tensor({1}, {4});
};

TEST_F(ReferenceBatchNorm, NormalizesOverAllButTheChannel) {
  const Tensor y = untouched({2, 1, 1, 1});
  forward(tensor({2, 1, 1, 1}, {1, 3}), y, {});
  EXPECT_EQ(values(y), (Floats{8, 12}));
  EXPECT_EQ(values(mean_), Floats{2});
  EXPECT_EQ(values(rstd_), Floats{1});
  EXPECT_EQ(values(running_mean_), Floats{0.75F * 4 + 0.25F * 2});
  EXPECT_EQ(values(running_variance_), Floats{0.75F * 4 + 0.25F * 2}) << "the unbiased variance of 1 and 3 is 2";
}

TEST_F(ReferenceBatchNorm, KeepsChannelsApart) {
  const Tensor y = untouched({2, 2, 2}), mean = untouched({2}), rstd = untouched({2});
  run(BatchNormForward{.x = tensor({2, 2, 2}, {1, 50, 3, 10, 3, 10, 1, 50}),
                       .gamma = tensor({2}, {1, 2}),
                       .beta = tensor({2}, {0, 1}),
                       .y = y,
                       .mean = mean,
                       .rstd = rstd,
                       .epsilon = 0});
  EXPECT_EQ(values(y), (Floats{-1, 3, 1, -1, 1, -1, -1, 3}));
  EXPECT_EQ(values(mean), (Floats{2, 30}));
  EXPECT_EQ(values(rstd), (Floats{1, 0.05F}));
}

TEST_F(ReferenceBatchNorm, AddsAndActivates) {
  const Tensor x = tensor({4, 1}, {1, 3, 1, 3}), addend = tensor({4, 1}, {-8, -13, -7, NAN}), y = untouched({4, 1});
  run(BatchNormForward{.x = x,
                       .gamma = gamma_,
                       .beta = beta_,
                       .addend = addend,
                       .y = y,
                       .mean = mean_,
                       .rstd = rstd_,
                       .epsilon = 0,
                       .activation = Activation::relu});
  EXPECT_EQ((Floats{values(y)[0], values(y)[1], values(y)[2]}), (Floats{0, 0, 1}));
  EXPECT_TRUE(std::isnan(values(y)[3]));
  const Tensor mean = tensor({1}, {2}), variance = tensor({1}, {1});
  run(BatchNormInference{.x = x,
                         .gamma = gamma_,
                         .beta = beta_,
                         .mean = mean,
                         .variance = variance,
                         .addend = addend,
                         .y = y,
                         .epsilon = 0,
                         .activation = Activation::relu});
  EXPECT_EQ((Floats{values(y)[0], values(y)[1], values(y)[2]}), (Floats{0, 0, 1}));
  EXPECT_TRUE(std::isnan(values(y)[3]));
}

TEST_F(ReferenceBatchNorm, IgnoresPadding) {
  const Tensor y = untouched({3, 1});
  forward(tensor({3, 1}, {1, 3, NAN}), y, integers<std::int32_t>({2}));
  EXPECT_EQ(values(y), (Floats{8, 12, 0}));
  EXPECT_EQ(values(mean_), Floats{2});
  EXPECT_EQ(values(running_variance_), Floats{3.5F});
}

TEST_F(ReferenceBatchNorm, WritesNothingButZerosWithoutValidSamples) {
  const Tensor y = untouched({2, 1});
  forward(tensor({2, 1}, {1, 3}), y, integers<std::int32_t>({0}));
  EXPECT_EQ(values(y), (Floats{0, 0}));
  for (const Tensor& statistic : {mean_, rstd_}) EXPECT_EQ(values(statistic), Floats{-7});
  for (const Tensor& statistic : {running_mean_, running_variance_}) EXPECT_EQ(values(statistic), Floats{4});
}

TEST_F(ReferenceBatchNorm, TakesTheVarianceOfASingleValueAsZero) {
  const Tensor y = untouched({1, 1});
  run(BatchNormForward{.x = tensor({1, 1}, {5}),
                       .gamma = gamma_,
                       .beta = beta_,
                       .y = y,
                       .mean = mean_,
                       .rstd = rstd_,
                       .running_mean = running_mean_,
                       .running_variance = running_variance_,
                       .momentum = 0.5,
                       .epsilon = 0.25});
  EXPECT_EQ(values(y), Floats{10});
  EXPECT_EQ(values(rstd_), Floats{2});
  EXPECT_EQ(values(running_variance_), Floats{2});
}

TEST_F(ReferenceBatchNorm, InfersWithGivenStatistics) {
  const Tensor y = untouched({2, 2});
  run(BatchNormInference{.x = tensor({2, 2}, {1, 2, 3, 4}),
                         .gamma = tensor({2}, {2, 3}),
                         .beta = tensor({2}, {10, 20}),
                         .mean = tensor({2}, {1, 2}),
                         .variance = tensor({2}, {3.75F, 0}),
                         .y = y,
                         .epsilon = 0.25});
  EXPECT_EQ(values(y), (Floats{10, 20, 12, 32}));
}

TEST_F(ReferenceBatchNorm, HasTheGradientsThatDifferencesShow) {
  for (const Activation activation : {Activation::none, Activation::relu}) {
    const Shape shape{4, 2, 2, 2};
    const Tensor x = random(shape, 1), gamma = random({2}, 2), beta = random({2}, 3), dy = random(shape, 4), y = untouched(shape);
    const Tensor mean = untouched({2}), rstd = untouched({2}), dx = untouched(shape), dgamma = untouched({2}),
                 dbeta = untouched({2});
    const Tensor valid_samples = integers<std::int32_t>({3});
    const auto loss = [&] {
      run(BatchNormForward{.x = x,
                           .gamma = gamma,
                           .beta = beta,
                           .y = y,
                           .mean = mean,
                           .rstd = rstd,
                           .activation = activation,
                           .valid_samples = valid_samples});
      return dot(y, dy);
    };
    loss();
    run(BatchNormBackward{.x = x,
                          .dy = dy,
                          .gamma = gamma,
                          .beta = beta,
                          .mean = mean,
                          .rstd = rstd,
                          .dx = dx,
                          .dgamma = dgamma,
                          .dbeta = dbeta,
                          .activation = activation,
                          .valid_samples = valid_samples});
    expect_gradient(x, dx, loss);
    expect_gradient(gamma, dgamma, loss);
    expect_gradient(beta, dbeta, loss);
  }
}

TEST_F(ReferenceBatchNorm, GivesPaddingNoGradientAndTakesNoneFromIt) {
  const Tensor x = tensor({3, 1}, {1, 3, NAN}), dy = tensor({3, 1}, {5, 1, NAN});
  const Tensor dgamma = tensor({1}, {100}), dbeta = tensor({1}, {100});
  BatchNormBackward args{
      .x = x, .dy = dy, .gamma = gamma_, .beta = beta_, .dx = dy, .dgamma = dgamma, .dbeta = dbeta, .accumulate = true};
  const Tensor mean = tensor({1}, {2}), rstd = tensor({1}, {1}), two = integers<std::int32_t>({2}),
               none = integers<std::int32_t>({0});
  args.mean = mean;
  args.rstd = rstd;
  args.valid_samples = two;
  run(args);
  EXPECT_EQ(values(dgamma), Floats{100 - 5 + 1});
  EXPECT_EQ(values(dbeta), Floats{100 + 5 + 1});
  EXPECT_EQ(values(dy), (Floats{0, 0, 0})) << "two values are always normalised to -1 and 1";

  args.valid_samples = none;
  run(args);
  EXPECT_EQ(values(dgamma), Floats{96}) << "nothing was added";
  args.accumulate = false;
  run(args);
  EXPECT_EQ(values(dgamma), Floats{0});
  EXPECT_EQ(values(dbeta), Floats{0});
}

TEST_F(ReferenceBatchNorm, OverwritesDyWhereItIsDx) {
  const Shape shape{4, 3};
  const Tensor x = random(shape, 1), dy = random(shape, 2), dx = untouched(shape), gamma = random({3}, 3), beta = random({3}, 6);
  const Tensor mean = random({3}, 4), rstd = random({3}, 5), dgamma = untouched({3}), dbeta = untouched({3});
  BatchNormBackward args{
      .x = x, .dy = dy, .gamma = gamma, .beta = beta, .mean = mean, .rstd = rstd, .dx = dx, .dgamma = dgamma, .dbeta = dbeta};
  run(args);
  args.dx = dy;
  run(args);
  EXPECT_EQ(values(dy), values(dx));
}

TEST_F(ReferenceBatchNorm, RoundsOnlyWhatItStores) {
  const Shape shape{4, 3, 2};
  const Tensor gamma = random({2}, 1), beta = random({2}, 2), mean = untouched({2}), rstd = untouched({2}), sums = untouched({2});
  const auto results = [&](DType dtype) {
    const Tensor x = random(shape, 3, dtype), dy = random(shape, 4, dtype), y = untouched(shape, dtype),
                 dx = untouched(shape, dtype);
    run(BatchNormForward{.x = x, .gamma = gamma, .beta = beta, .y = y, .mean = mean, .rstd = rstd});
    run(BatchNormBackward{
        .x = x, .dy = dy, .gamma = gamma, .beta = beta, .mean = mean, .rstd = rstd, .dx = dx, .dgamma = sums, .dbeta = sums});
    return std::vector{values(y), values(dx)};
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
