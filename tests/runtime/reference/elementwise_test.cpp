#include "minim/runtime/kernels/elementwise.h"

#include "minim/runtime/philox.h"
#include "runtime/reference/reference_case.h"

namespace minim {
namespace {

using Floats = std::vector<float>;
using ReferenceElementwise = ReferenceCase;

TEST_F(ReferenceElementwise, ReluKeepsWhatIsPositiveAndNaN) {
  for (const DType dtype : {DType::fp32, DType::fp16, DType::bf16}) {
    const Tensor x = tensor({6}, {-1, -0.0F, 0, 2, INFINITY, NAN}, dtype);
    run(ReluForward{.x = x, .y = x});
    const Floats y = values(x);
    EXPECT_EQ(Floats(y.begin(), y.begin() + 5), (Floats{0, 0, 0, 2, INFINITY}));
    EXPECT_TRUE(std::isnan(y[5]));
  }
}

TEST_F(ReferenceElementwise, ReluPassesGradientsWhereItsOutputIsPositive) {
  const Tensor dy = tensor({4}, {1, 2, 3, 4});
  run(ReluBackward{.y = tensor({4}, {0, 0.5F, NAN, INFINITY}), .dy = dy, .dx = dy});
  EXPECT_EQ(values(dy), (Floats{0, 2, 0, 4}));
}

TEST_F(ReferenceElementwise, SumAddsInFp32InTheOrderOfTheInputs) {
  const Tensor large = tensor({1}, {0x1p24F}), one = tensor({1}, {1}), minus_large = tensor({1}, {-0x1p24F}), y = untouched({1});
  run(Sum{.inputs = {large, one, minus_large}, .y = y});
  EXPECT_EQ(values(y), Floats{0}) << "FP32 loses the 1";
  run(Sum{.inputs = {large, minus_large, one}, .y = y});
  EXPECT_EQ(values(y), Floats{1});
}

TEST_F(ReferenceElementwise, SumIsZeroWhereItsMaskIsNotPositive) {
  const Tensor x = tensor({4}, {1, 2, NAN, 4}), y = untouched({4});
  run(Sum{.inputs = {x, x}, .mask = tensor({4}, {0, 0.5F, NAN, INFINITY}), .y = y});
  EXPECT_EQ(values(y), (Floats{0, 4, 0, 8}));
}

TEST_F(ReferenceElementwise, SumRoundsOnce) {
  // 2048 + 1 + 1 = 2050; rounding in between would stay at 2048.
  const Tensor x = tensor({1}, {2048}, DType::fp16), one = tensor({1}, {1}, DType::fp16);
  run(Sum{.inputs = {x, one, one}, .y = x});
  EXPECT_EQ(values(x), Floats{2050});
}

TEST_F(ReferenceElementwise, CastConvertsBetweenFloatingTypes) {
  const Floats numbers{1 + 0x1p-12F, -70000, 0x1p-25F, 3, INFINITY};
  for (const DType from : {DType::fp32, DType::fp16, DType::bf16}) {
    for (const DType to : {DType::fp32, DType::fp16, DType::bf16}) {
      const Tensor x = tensor({5}, numbers, from), y = untouched({5}, to);
      run(Cast{.x = x, .y = y});
      EXPECT_EQ(values(y), rounded(values(x), to)) << name(from) << " to " << name(to);
    }
  }
}

TEST_F(ReferenceElementwise, CastCopiesIntegersAndConvertsNone) {
  const Tensor x = integers<std::int64_t>({1, std::int64_t{1} << 40U}), y = integers<std::int64_t>({0, 0});
  run(Cast{.x = x, .y = y});
  EXPECT_EQ(y.span<std::int64_t>()[1], std::int64_t{1} << 40U);
  EXPECT_THROW(run(Cast{.x = x, .y = untouched({2})}), InvalidArgument);
}

TEST_F(ReferenceElementwise, ZeroClearsEveryByteOfAnyType) {
  for (const DType dtype : {DType::fp16, DType::fp64, DType::int64, DType::uint8}) {
    const TensorView view = untouched({3}, dtype);
    const Tensor y = untouched({3}, dtype);
    run(Zero{.y = y});
    const auto* begin = static_cast<const std::byte*>(y.view().raw());
    EXPECT_TRUE(std::all_of(begin, begin + view.size_bytes(), [](std::byte b) { return b == std::byte{0}; })) << name(dtype);
  }
  run(Zero{.y = TensorView(nullptr, DType::fp32, {0})});
}

TEST_F(ReferenceElementwise, ConcatPutsChannelsSideBySide) {
  const Tensor a = tensor({2, 1}, {1, 2}, DType::fp16), b = tensor({2, 2}, {10, 11, 20, 21}, DType::fp16);
  const Tensor y = untouched({2, 3}, DType::fp16);
  run(ConcatForward{.inputs = {a, b}, .y = y});
  EXPECT_EQ(values(y), (Floats{1, 10, 11, 2, 20, 21}));
}

TEST_F(ReferenceElementwise, ConcatGivesEachInputItsPartOfTheGradient) {
  const Tensor dy = tensor({2, 4}, {1, 10, 11, 100, 2, 20, 21, 200}), first = untouched({2, 1}), last = untouched({2, 1});
  run(ConcatBackward{.dy = dy, .outputs = {first, {}, last}, .channels = {1, 2, 1}});
  EXPECT_EQ(values(first), (Floats{1, 2}));
  EXPECT_EQ(values(last), (Floats{100, 200}));
}

class ReferenceDropout : public ReferenceCase {
 protected:
  static constexpr std::uint64_t kSeed = 0x123456789ABCDEFU;
  static constexpr std::uint32_t kOperation = 77;
  static constexpr double kRate = 0.25;

  /// What dropout makes of ones.
  Floats mask(std::int64_t step, const std::vector<std::int64_t>& samples, std::int64_t elements, double rate = kRate) {
    const auto count = static_cast<std::int64_t>(samples.size());
    const Tensor x = tensor({count, elements}, Floats(static_cast<std::size_t>(count * elements), 1));
    run(DropoutForward{.x = x, .y = x, .rate = rate, .random = key(step, samples)});
    return values(x);
  }
  RandomKey key(std::int64_t step, const std::vector<std::int64_t>& samples) {
    step_ = integers<std::int64_t>({step});
    samples_ = integers<std::int64_t>(samples);
    return {.seed = kSeed, .operation = kOperation, .attempted_step = step_, .sample_ids = samples_};
  }

  Tensor step_, samples_;
};

TEST_F(ReferenceDropout, DrawsTheDocumentedWords) {
  const std::int64_t sample = (std::int64_t{9} << 32U) + 5;
  const Floats found = mask(3, {sample}, 10);
  for (std::uint32_t e = 0; e < 10; ++e) {
    const auto words = philox({e / 4, 3, 5, 9}, {0x89ABCDEFU ^ kOperation, 0x01234567U});
    EXPECT_EQ(found[e], uniform(words[e % 4]) >= kRate ? static_cast<float>(1 / (1 - kRate)) : 0.0F) << e;
  }
}

TEST_F(ReferenceDropout, FollowsTheSampleAndNotItsPlaceInTheBatch) {
  const Floats both = mask(1, {4, 8}, 16), swapped = mask(1, {8, 4}, 16);
  EXPECT_TRUE(std::equal(both.begin(), both.begin() + 16, swapped.begin() + 16));
  EXPECT_TRUE(std::equal(both.begin() + 16, both.end(), swapped.begin()));
  EXPECT_FALSE(std::equal(both.begin(), both.begin() + 16, swapped.begin()));
}

TEST_F(ReferenceDropout, DrawsAnewWithEveryAttemptedStep) { EXPECT_NE(mask(1, {4}, 32), mask(2, {4}, 32)); }

TEST_F(ReferenceDropout, DropsAtTheGivenRate) {
  constexpr std::int64_t kElements = 10000;
  // Binomial: five deviations, exceeded by chance once in 1.7 million.
  const double tolerance = 5 * std::sqrt(kElements * kRate * (1 - kRate));
  EXPECT_NEAR(static_cast<double>(std::ranges::count(mask(1, {0}, kElements), 0.0F)), kElements * kRate, tolerance);
  EXPECT_EQ(std::ranges::count(mask(1, {0}, 100, 0.0), 1.0F), 100) << "a rate of 0 drops nothing";
}

TEST_F(ReferenceDropout, PassesGradientsWhereForwardPassedValues) {
  const Tensor dy = tensor({2, 8}, Floats(16, 3));
  run(DropoutBackward{.dy = dy, .dx = dy, .rate = kRate, .random = key(6, {1, 2})});
  Floats wanted = mask(6, {1, 2}, 8);
  for (float& value : wanted) value = value == 0 ? 0 : static_cast<float>(3 / (1 - kRate));
  EXPECT_EQ(values(dy), wanted);
}

}  // namespace
}  // namespace minim
