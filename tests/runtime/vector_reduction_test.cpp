#include <cstring>

#include "runtime/vector_case.h"

namespace minim {
namespace {

using VectorReduction = vector_case::VectorCase;

/// Sources whose elements [0, n) are summed, and what the sums are, computed one by one in FP32.
template <class T>
struct Sources {
  Sources(std::size_t count, std::size_t n) : arrays(count, std::vector<T>(n)) {
    for (std::size_t s = 0; s < count; ++s) {
      for (std::size_t i = 0; i < n; ++i) {
        const auto words = philox({static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(s), 0, 0}, {7, 0});
        arrays[s][i] = round_to<T>(200 * uniform(words[0]) - 100);
      }
    }
  }

  float sum(std::size_t i) const {
    float result = to_float(arrays[0][i]);
    for (std::size_t s = 1; s < arrays.size(); ++s) result += to_float(arrays[s][i]);
    return result;
  }
  std::vector<const void*> pointers() const {
    std::vector<const void*> result;
    for (const auto& array : arrays) result.push_back(array.data());
    return result;
  }

  std::vector<std::vector<T>> arrays;
};

template <class T>
void expect_scaled_sums(std::size_t count, std::size_t n, std::size_t begin, std::size_t end) {
  Sources<T> sources(count, n);
  const Sources<T> before = sources;
  std::vector<T> other(n, T{});
  const auto pointers = sources.pointers();
  // In place into the last source, as an all-reduce writes, and into an array of its own.
  void* const destinations[] = {sources.arrays.back().data(), other.data()};
  simd::reduce_scaled(pointers, kDType<T>, static_cast<std::int64_t>(begin), static_cast<std::int64_t>(end), 0.375F,
                      destinations);
  for (std::size_t i = 0; i < n; ++i) {
    const bool inside = i >= begin && i < end;
    const T wanted = round_to<T>(before.sum(i) * 0.375F);
    ASSERT_EQ(to_float(other[i]), inside ? to_float(wanted) : 0.0F) << count << " sources, element " << i;
    ASSERT_EQ(to_float(sources.arrays.back()[i]), to_float(inside ? wanted : before.arrays.back()[i]))
        << "in place, element " << i;
  }
}

TEST_P(VectorReduction, OfAnyNumberOfSourcesAddsInOrderAndRoundsOnce) {
  for (const std::size_t count : {1, 2, 3, 4, 5, 8}) {
    for (const std::size_t n : {0, 1, 31, 32, 33, 1000}) {
      expect_scaled_sums<Half>(count, n, 0, n);
      expect_scaled_sums<BFloat16>(count, n, 0, n);
      expect_scaled_sums<float>(count, n, 0, n);
    }
  }
}

TEST_P(VectorReduction, TouchesItsRangeOnly) {
  expect_scaled_sums<Half>(2, 200, 7, 7);
  expect_scaled_sums<Half>(2, 200, 7, 139);
  expect_scaled_sums<float>(3, 200, 64, 199);
}

TEST_P(VectorReduction, RoundsTheSumAndNotTheTerms) {
  // 2048 + 1 + 1 is 2050; added in FP16, both ones would be lost.
  const std::vector<Half> big(40, to_half(2048));
  const std::vector<Half> one(40, to_half(1));
  std::vector<Half> found(40);
  const void* const sources[] = {big.data(), one.data(), one.data()};
  void* const destination = found.data();
  simd::reduce_scaled(sources, DType::fp16, 0, 40, 1, {&destination, 1});
  for (const Half h : found) ASSERT_EQ(to_float(h), 2050);
}

template <class T>
void expect_float_sums(std::size_t count) {
  const Sources<T> sources(count, 517);
  std::vector<float> sums(500);
  simd::reduce_to_float(sources.pointers(), kDType<T>, 9, 509, sums.data());
  for (std::size_t i = 0; i < sums.size(); ++i) ASSERT_EQ(sums[i], sources.sum(i + 9)) << count << " sources, element " << i;
}

TEST_P(VectorReduction, ToFloatKeepsTheSumsUnrounded) {
  for (const std::size_t count : {1, 2, 3, 4, 6}) {
    expect_float_sums<Half>(count);
    expect_float_sums<BFloat16>(count);
    expect_float_sums<float>(count);
  }
}

TEST_P(VectorReduction, AddAddsInPlace) {
  std::vector<float> sums(37, 1.5F);
  const std::vector<float> terms(37, 0.25F);
  simd::add(terms.data(), sums.data(), 36);
  for (std::size_t i = 0; i < 36; ++i) ASSERT_EQ(sums[i], 1.75F);
  EXPECT_EQ(sums[36], 1.5F);
}

TEST_P(VectorReduction, WithoutSourcesIsRefused) {
  EXPECT_THROW(simd::reduce_scaled({}, DType::fp16, 0, 1, 1, {}), InvalidArgument);
  EXPECT_THROW(simd::reduce_to_float({}, DType::fp16, 0, 1, nullptr), InvalidArgument);
}

MINIM_FOR_EACH_INSTRUCTION_SET(VectorReduction);

}  // namespace
}  // namespace minim
