#include "minim/runtime/kernels/state.h"

#include "runtime/reference/reference_case.h"

namespace minim {
namespace {

using Floats = std::vector<float>;
using ReferenceState = ReferenceCase;

TEST_F(ReferenceState, CommitsWhatAnAppliedStepLeftPending) {
  const Tensor committed = tensor({2}, {1, 2}), pending = tensor({2}, {3, 4});
  run(CommitState{.committed = committed, .pending = pending, .applied = integers<std::int32_t>({1})});
  EXPECT_EQ(values(committed), (Floats{3, 4}));
  EXPECT_EQ(values(pending), (Floats{3, 4}));
}

TEST_F(ReferenceState, TakesBackWhatASkippedStepLeftPending) {
  const Tensor committed = tensor({2}, {1, 2}), pending = tensor({2}, {NAN, 4});
  run(CommitState{.committed = committed, .pending = pending, .applied = integers<std::int32_t>({0})});
  EXPECT_EQ(values(committed), (Floats{1, 2}));
  EXPECT_EQ(values(pending), (Floats{1, 2}));
}

}  // namespace
}  // namespace minim
