#include "queued_communicator.h"

#include <gtest/gtest.h>

#include <optional>

#include "minim/runtime/error.h"

namespace minim::detail {
namespace {

/// Sets a flag when it goes.
class Trace {
 public:
  explicit Trace(bool& gone) : gone_(gone) {}
  ~Trace() { gone_ = true; }
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;

 private:
  bool& gone_;
};

Steps run_for_ever(bool& steps_gone) {
  const Trace trace(steps_gone);
  for (;;) co_await Turn{};
}

/// A group whose collectives never complete.
class EndlessGroup final : public QueuedCommunicator {
 public:
  EndlessGroup() : QueuedCommunicator(false) {}

  int rank() const override { return 0; }
  int size() const override { return 1; }
  int nodes() const override { return 1; }
  int node_of(int /*rank*/) const override { return 0; }
  std::string_view name() const override { return "endless"; }
  Buffer allocate(Backend& backend, std::int64_t size_bytes, MemoryKind kind) override {
    return backend.allocate(size_bytes, kind);
  }
  void abort(const std::string& reason) override { fail(std::make_exception_ptr(CommError(reason)), reason); }

  bool steps_gone = false;
  std::optional<bool> steps_gone_when_spread;

 private:
  Steps start(const Collective& /*collective*/) override { return run_for_ever(steps_gone); }
  void check_node() override {}
  void check_other_nodes() override {}
  void show_work() override {}
  bool peers_at_work() override { return false; }
  void check_peers(const Collective& /*collective*/, Clock::duration /*silent*/) override {}
  void spread_failure(const std::string& /*reason*/) noexcept override { steps_gone_when_spread = steps_gone; }
};

// Peers may be reading what the steps hold, or the tensors of those who wait for the event, until they are told to stop.
TEST(QueuedCommunicator, KeepsACollectiveWholeUntilItsFailureHasBeenSpread) {
  EndlessGroup group;
  const Work work = group.barrier({.label = "end", .after = {}});
  group.progress();
  group.abort("enough");
  EXPECT_EQ(group.steps_gone_when_spread, false);
  EXPECT_TRUE(group.steps_gone);
  EXPECT_THROW(work.wait(), CommError);
}

TEST(QueuedCommunicator, EventsOfWhatItLeavesUnfinishedFailWhenItGoes) {
  auto group = std::make_unique<EndlessGroup>();
  const Work begun = group->barrier({.label = "begun", .after = {}});
  const Work queued = group->barrier({.label = "queued", .after = {}});
  group->progress();
  const Event event = begun.event();
  EXPECT_FALSE(event.done());
  group.reset();
  ASSERT_TRUE(event.done());
  EXPECT_THROW(event.wait(), CommError);
  EXPECT_TRUE(queued.done());
  EXPECT_THROW(queued.wait(), CommError);
}

}  // namespace
}  // namespace minim::detail
