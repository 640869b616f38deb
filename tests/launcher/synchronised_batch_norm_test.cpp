// Batch normalisation whose statistics several ranks take together.

#include <gtest/gtest.h>

#include "launcher/rank_threads.h"
#include "launcher/tiny_run.h"
#include "minim/runtime/error.h"

namespace minim {
namespace {

using namespace testing;

constexpr int kSteps = 5;

/// What each of `ranks` ranks has after some steps of 12 samples over all of them.
std::vector<Snapshot> train(int ranks, bool synchronised, Precision precision = Precision::fp32) {
  std::vector<Snapshot> snapshots(static_cast<std::size_t>(ranks));
  run_ranks(ranks, [&](Communicator& communicator) {
    TinyRun run(communicator, {.precision = precision, .synchronise_batch_norm = synchronised});
    run.train(kSteps);
    snapshots[static_cast<std::size_t>(communicator.rank())] = run.snapshot();
  });
  return snapshots;
}

class SynchronisedBatchNorm : public ::testing::TestWithParam<int> {};

TEST_P(SynchronisedBatchNorm, TrainsAsOneRankWithAllSamplesDoes) {
  const Snapshot one = train(1, false).front();
  const auto many = train(GetParam(), true), apart = train(GetParam(), false);
  // Sums in another order, and moments that are rounded to FP32 on their way, each a few units of 2^-24; five steps of a network
  // with three layers make some hundred of that.
  constexpr double kBound = 300 * 0x1p-24;
  for (const Snapshot& rank : many) {
    EXPECT_LE(relative_difference(one.arrays, rank.arrays), kBound);
    EXPECT_LE(relative_difference(one.states, rank.states), kBound);
    EXPECT_EQ(rank.states, many.front().states);
  }
  EXPECT_GT(relative_difference(one.arrays, apart.front().arrays), 10 * kBound)
      << "statistics of each rank's own are no different";
  EXPECT_GT(relative_difference(one.states, apart.front().states), 10 * kBound);
}

TEST_P(SynchronisedBatchNorm, KeepsTheSameStatisticsOnAllRanksInMixedPrecision) {
  const auto ranks = train(GetParam(), true, Precision::mixed);
  for (const Snapshot& rank : ranks) {
    EXPECT_EQ(rank.states, ranks.front().states);
    EXPECT_EQ(rank.arrays, ranks.front().arrays);
    EXPECT_EQ(rank.step.applied, kSteps);
  }
}

INSTANTIATE_TEST_SUITE_P(Ranks, SynchronisedBatchNorm, ::testing::Values(2, 3), ::testing::PrintToStringParamName());

TEST(SynchronisedBatchNorm, OfOneRankIsThatWithoutOthers) {
  const auto with = train(1, true), without = train(1, false);
  EXPECT_EQ(with.front().arrays, without.front().arrays);
  EXPECT_EQ(with.front().states, without.front().states);
}

TEST(SynchronisedBatchNorm, LetsNobodyWaitForARankWhoseFeedFails) {
  run_ranks(3, [](Communicator& communicator) {
    TinyRun run(communicator, {.synchronise_batch_norm = true});
    run.train(1);
    const auto failing = [&](const MicroBatch& /*micro_batch*/) -> int {
      if (communicator.rank() == 1) throw DataError("image 17 cannot be read");
      return 0;
    };
    try {
      run.trainer().step(failing);
      ADD_FAILURE() << "rank " << communicator.rank() << " went on";
    } catch (const DataError&) {
      EXPECT_EQ(communicator.rank(), 1);
    } catch (const CommError& error) {
      EXPECT_NE(communicator.rank(), 1);
      EXPECT_NE(std::string(error.what()).find("image 17 cannot be read"), std::string::npos) << error.what();
    }
  });
}

}  // namespace
}  // namespace minim
