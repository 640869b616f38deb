#include "command/run_length.h"

#include <gtest/gtest.h>

namespace minim::command {
namespace {

constexpr RunLength kThreeEpochs{.dataset_size = 100, .global_batch = 32, .epochs = 3};

TEST(RunLength, CoversTheLastEpochWholly) {
  EXPECT_EQ(kThreeEpochs.total_steps(), 10);  // 320 samples of 300
  RunLength exact = kThreeEpochs;
  exact.global_batch = 50;
  EXPECT_EQ(exact.total_steps(), 6);
}

TEST(RunLength, StepsOverrideEpochs) {
  RunLength length = kThreeEpochs;
  length.steps = 7;
  EXPECT_EQ(length.total_steps(), 7);
}

TEST(RunLength, AnEpochEndsWithTheBatchThatReachesItsLastSample) {
  for (std::int64_t step = 1; step <= 10; ++step)
    EXPECT_EQ(kThreeEpochs.ends_epoch(step), step == 4 || step == 7 || step == 10) << step;
  EXPECT_FALSE(kThreeEpochs.ends_epoch(0));
}

TEST(RunLength, ResumingAtTheSameSizeChangesNothing) {
  for (std::int64_t start = 0; start <= 10; ++start) {
    RunLength resumed = kThreeEpochs;
    resumed.start_step = start;
    resumed.start_position = kThreeEpochs.position(start);
    EXPECT_EQ(resumed.total_steps(), 10) << start;
    for (std::int64_t step = start; step <= 10; ++step) {
      EXPECT_EQ(resumed.ends_epoch(step), kThreeEpochs.ends_epoch(step)) << start << ' ' << step;
      EXPECT_EQ(resumed.evaluates_after(step, 1), kThreeEpochs.evaluates_after(step, 1)) << start << ' ' << step;
    }
  }
}

TEST(RunLength, ResumingAtAnotherSizeEndsAfterTheSameSamples) {
  const RunLength resumed{.dataset_size = 100, .global_batch = 16, .epochs = 3, .start_step = 5, .start_position = 160};
  EXPECT_EQ(resumed.total_steps(), 5 + 9);  // 140 samples are left
  EXPECT_EQ(resumed.position(resumed.total_steps()), 304);
  EXPECT_TRUE(resumed.ends_epoch(5 + 3));
}

TEST(RunLength, EvaluatesAtTheEndWhateverTheInterval) {
  for (const std::int64_t every : {0, 1, 2}) EXPECT_TRUE(kThreeEpochs.evaluates_after(10, every));
  EXPECT_FALSE(kThreeEpochs.evaluates_after(4, 0));
  EXPECT_FALSE(kThreeEpochs.evaluates_after(4, 2));
  EXPECT_TRUE(kThreeEpochs.evaluates_after(7, 2));
  EXPECT_FALSE(kThreeEpochs.evaluates_after(0, 1));
}

TEST(RunLength, SavesAtIntervalsOrEpochsAndAtTheEnd) {
  EXPECT_TRUE(kThreeEpochs.saves_after(4, 0));
  EXPECT_FALSE(kThreeEpochs.saves_after(4, 3));
  EXPECT_TRUE(kThreeEpochs.saves_after(6, 3));
  EXPECT_TRUE(kThreeEpochs.saves_after(10, 3));
}

}  // namespace
}  // namespace minim::command
