#include "command/overlap.h"

#include <gtest/gtest.h>

namespace minim::command {
namespace {

TEST(Overlap, ReductionsRunUnderTheBackwardThatIsLeft) {
  // Backward takes 3 + 4 + 5 s. Bucket 1 is complete after 7 s and bucket 0 after 12 s.
  TimedStep step;
  step.backward = {{3, {1}}, {4, {1}}, {5, {0}}};
  step.buckets = {{.gradients = 1, .reduction_seconds = 2}, {.gradients = 2, .reduction_seconds = 4}};
  step.agreement_seconds = 0.5;
  step.update_seconds = 0.25;
  const Overlap overlap = simulate(step);
  EXPECT_EQ(overlap.reduction, 6);
  EXPECT_EQ(overlap.exposed_reduction, 2);
  EXPECT_DOUBLE_EQ(overlap.hidden_share(), 4.0 / 6);
  EXPECT_EQ(overlap.step, 12 + 2 + 0.5 + 0.25);
}

TEST(Overlap, AReductionWaitsForTheOneBefore) {
  // As before, but bucket 1 keeps the link until 17 s.
  TimedStep step;
  step.backward = {{3, {1}}, {4, {1}}, {5, {0}}};
  step.buckets = {{.gradients = 1, .reduction_seconds = 2}, {.gradients = 2, .reduction_seconds = 10}};
  EXPECT_EQ(simulate(step).exposed_reduction, 7);
}

TEST(Overlap, BucketsAreReducedFromTheLastToTheFirst) {
  // Bucket 0 is complete after 1 s and waits for bucket 1, which is complete after 5 s.
  TimedStep step;
  step.backward = {{1, {0}}, {4, {1}}, {6, {}}};
  step.buckets = {{.gradients = 1, .reduction_seconds = 2}, {.gradients = 1, .reduction_seconds = 5}};
  EXPECT_EQ(simulate(step).exposed_reduction, 5 + 5 + 2 - 11);
}

TEST(Overlap, BucketsThatNoKernelCompletesAreReducedAtTheEnd) {
  TimedStep step;
  step.backward = {{1, {0}}};
  step.buckets = {{.gradients = 2, .reduction_seconds = 3}};
  EXPECT_EQ(simulate(step).step, 1 + 3);
}

TEST(Overlap, ForwardWaitsForTheWeightsThatItReads) {
  // Gathered after 2 s and 5 s. The first kernel waits 2 s, the second none, the third, at 4.5 s, 0.5 s.
  TimedStep step;
  step.forward = {{2, {0}}, {0.5, {}}, {7, {1}}};
  step.buckets = {{.gather_seconds = 2}, {.gather_seconds = 3}};
  const Overlap overlap = simulate(step);
  EXPECT_EQ(overlap.gather, 5);
  EXPECT_EQ(overlap.exposed_gather, 2.5);
  EXPECT_EQ(overlap.step, 12);
}

TEST(Overlap, IsOfTheLastMicroBatchAlone) {
  TimedStep step;
  step.forward = {{1, {0}}};
  step.backward = {{2, {0}}};
  step.micro_batches_between_seconds = 6;
  step.buckets = {{.gradients = 1, .gather_seconds = 4, .reduction_seconds = 5}};
  EXPECT_EQ(simulate(step).step, 4 + 1 + 6 + 2 + 5);
}

}  // namespace
}  // namespace minim::command
