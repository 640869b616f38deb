#include "minim/runtime/kernels/exponents.h"
#include "runtime/exponent_oracle.h"
#include "runtime/vector_case.h"

namespace minim {
namespace {

/// Fewer elements than a vector, whole vectors, more with a rest, and more than one piece of the kernel.
constexpr std::int64_t kCounts[] = {0, 1, 3, 17, 64, 100, 1031, 5003};

class VectorExponents : public vector_case::VectorCase {
 protected:
  /// Counts on top of ones, so that a kernel that does not add is seen.
  std::vector<std::int64_t> count(const ConstTensorView& x, const ConstTensorView& valid_samples = {}) {
    const Tensor counts = make(DType::int64, {kMantissas, kExponents});
    std::ranges::fill(counts.view().span<std::int64_t>(), 1);
    run_fast(CountExponents{.x = x, .valid_samples = valid_samples, .counts = counts});
    std::vector<std::int64_t> found;
    for (const std::int64_t count : counts.view().span<std::int64_t>()) found.push_back(count - 1);
    return found;
  }
};

TEST_P(VectorExponents, AreThoseOfTheOracleForAllTypesAndCounts) {
  for (const DType dtype : vector_case::kFloatingTypes) {
    for (const std::int64_t n : kCounts) {
      const Tensor x = make(dtype, {n});
      exponent_oracle::fill_widely(x, 7);
      EXPECT_EQ(count(x), exponent_oracle::count(x, n)) << name(dtype) << " [" << n << "]";
    }
  }
}

TEST_P(VectorExponents, OfEveryHalfAndBFloat16) {
  for (const DType dtype : {DType::fp16, DType::bf16}) {
    const Tensor x = make(dtype, {0x10000});
    auto* bits = static_cast<std::uint16_t*>(x.view().raw());
    for (std::int64_t i = 0; i < 0x10000; ++i) bits[i] = static_cast<std::uint16_t>(i);
    EXPECT_EQ(count(x), exponent_oracle::count(x, 0x10000)) << name(dtype);
  }
}

TEST_P(VectorExponents, OfFloatsAtEveryBoundary) {
  const std::vector<float> values = exponent_oracle::boundaries();
  const Tensor x = make(DType::fp32, {static_cast<std::int64_t>(values.size())});
  std::ranges::copy(values, x.view().data<float>());
  EXPECT_EQ(count(x), exponent_oracle::count(x, x.elements()));
}

TEST_P(VectorExponents, OfValidSamplesOnly) {
  const Tensor x = make(DType::fp32, {5, 7, 3});
  exponent_oracle::fill_widely(x, 3);
  for (const std::int32_t valid : {0, 1, 4, 5})
    EXPECT_EQ(count(x, make_int32(valid)), exponent_oracle::count(x, valid * 21)) << valid;
}

TEST_P(VectorExponents, AreCountedOnThreads) {
  constexpr std::int64_t kCount = 150001;
  const Tensor x = make(DType::fp16, {kCount});
  exponent_oracle::fill_widely(x, 5);
  use_threads(3);
  EXPECT_EQ(count(x), exponent_oracle::count(x, kCount));
}

TEST(ReferenceExponents, AreThoseOfTheOracle) {
  const auto backend = make_reference_backend();
  const auto stream = backend->make_stream("test");
  const std::vector<float> values = exponent_oracle::boundaries();
  const auto n = static_cast<std::int64_t>(values.size());
  const ConstTensorView x(values.data(), DType::fp32, Shape{n});
  std::vector<std::int64_t> counts(std::size_t{kMantissas} * kExponents);
  backend->run(*stream,
               CountExponents{.x = x, .valid_samples = {}, .counts = {counts.data(), DType::int64, {kMantissas, kExponents}}});
  EXPECT_EQ(counts, exponent_oracle::count(x, n));
}

MINIM_FOR_EACH_INSTRUCTION_SET(VectorExponents);

}  // namespace
}  // namespace minim
