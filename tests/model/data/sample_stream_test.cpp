#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <thread>
#include <vector>

#include "minim/model/data/loader.h"

namespace minim {
namespace {

std::vector<std::int64_t> epoch_of(const SampleStream& stream, std::int64_t size, std::int64_t epoch) {
  std::vector<std::int64_t> indices;
  for (std::int64_t i = 0; i < size; ++i) indices.push_back(stream.index_at(epoch * size + i));
  return indices;
}

TEST(SampleStream, EveryEpochIsAPermutationOfItsOwn) {
  constexpr std::int64_t kSize = 1000;
  const SampleStream stream(kSize, 3);
  std::vector<std::int64_t> all(kSize);
  std::iota(all.begin(), all.end(), 0);
  std::vector<std::vector<std::int64_t>> seen;
  for (std::int64_t epoch = 0; epoch < 6; ++epoch) {
    auto order = epoch_of(stream, kSize, epoch);
    EXPECT_EQ(stream.epoch_at(epoch * kSize + kSize - 1), epoch);
    EXPECT_EQ(std::count(seen.begin(), seen.end(), order), 0);
    seen.push_back(order);
    std::sort(order.begin(), order.end());
    EXPECT_EQ(order, all);
  }
}

TEST(SampleStream, DependsOnTheSeed) {
  EXPECT_NE(epoch_of(SampleStream(100, 1), 100, 0), epoch_of(SampleStream(100, 2), 100, 0));
  EXPECT_NE(epoch_of(SampleStream(100, 1), 100, 0), epoch_of(SampleStream(100, 1ULL << 32U | 1U), 100, 0));
}

TEST(SampleStream, GivesTheSameSamplesInAnyOrderOfAsking) {
  constexpr std::int64_t kSize = 7;
  constexpr std::int64_t kPositions = 40 * kSize;  // far more epochs than are kept
  const SampleStream forward(kSize, 9);
  const SampleStream backward(kSize, 9);
  std::vector<std::int64_t> expected, found(kPositions);
  for (std::int64_t p = 0; p < kPositions; ++p) expected.push_back(forward.index_at(p));
  for (std::int64_t p = kPositions - 1; p >= 0; --p) found[static_cast<std::size_t>(p)] = backward.index_at(p);
  EXPECT_EQ(found, expected);
}

TEST(SampleStream, IsSafeToAskFromSeveralThreads) {
  constexpr std::int64_t kSize = 5;
  constexpr std::int64_t kPositions = 200;
  const SampleStream alone(kSize, 4);
  const SampleStream shared(kSize, 4);
  std::vector<std::int64_t> found(kPositions);
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (std::int64_t p = t; p < kPositions; p += 4) found[static_cast<std::size_t>(p)] = shared.index_at(p);
      });
    }
  }
  for (std::int64_t p = 0; p < kPositions; ++p) EXPECT_EQ(found[static_cast<std::size_t>(p)], alone.index_at(p));
}

TEST(SampleStream, ShufflesWithoutBias) {
  // Each of 6 orders of 3 samples is expected 1000 times in 6000 epochs; the deviation of a count is sqrt(1000 * 5 / 6) = 29.
  constexpr std::int64_t kEpochs = 6000;
  constexpr int kFiveDeviations = 145;
  const SampleStream stream(3, 11);
  std::vector<int> counts(27);
  for (std::int64_t epoch = 0; epoch < kEpochs; ++epoch) {
    const auto order = epoch_of(stream, 3, epoch);
    ++counts[static_cast<std::size_t>(order[0] * 9 + order[1] * 3 + order[2])];
  }
  EXPECT_EQ(std::count(counts.begin(), counts.end(), 0), 27 - 6);
  for (const int count : counts) {
    if (count > 0) {
      EXPECT_NEAR(count, 1000, kFiveDeviations);
    }
  }
}

TEST(SampleStream, RefusesEmptyDataSetsAndNegativePositions) {
  EXPECT_THROW(SampleStream(0, 1), InvalidArgument);
  EXPECT_THROW(SampleStream(5, 1).index_at(-1), InvalidArgument);
}

}  // namespace
}  // namespace minim
