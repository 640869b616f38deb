#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "optimizer/rank_job.h"

namespace minim {
namespace {

using testing::plain;
using testing::RankJob;
using testing::run_ranks;

/// After so long, what a test waits for is taken as never happening. Only a test that fails waits that long.
constexpr std::chrono::seconds kNever{20};

/// Parameters of RankJob in its first and its last bucket.
constexpr std::size_t kFirst = 2, kLast = 3;

/// Drives the communicator as a training thread does between kernel launches. False when the condition never came true.
bool drive_until(Communicator& communicator, const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + kNever;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    communicator.progress();
    std::this_thread::yield();
  }
  return true;
}

/// Keeps what it is told to wait for, so that a test sees the event itself. Runs nothing.
class WaitRecorder : public Stream {
 public:
  void enqueue(std::function<void()>) override {}
  void enqueue_borrowed(const std::function<void()>*) override {}
  void copy(TensorView, ConstTensorView) override {}
  void wait(const Event& event) override { awaited = event; }
  Event record() override { return {}; }
  void synchronize() override {}

  Event awaited;
};

void finish_without_gradients(RankJob& job) {
  job.stream->enqueue([&job] { std::ranges::fill(job.sums.span<float>(), 1.0F); });
  const TensorView sums = job.sums.view();
  job.optimizer->finish_step(*job.stream, sums.slice(0, 1), sums.slice(1, 2), sums.slice(2, 3), {});
  job.optimizer->drain();
  EXPECT_EQ(job.optimizer->state().outcome, static_cast<int>(Outcome::applied));
}

TEST(Overlap, ForwardUsesTheFirstBucketBeforeTheLastIsGathered) {
  std::vector<float> used[2];
  const Event forward_has_run = Event::manual();
  run_ranks(2, [&](Communicator& communicator) {
    RankJob job(communicator, plain({.mode = LossScaleMode::constant, .initial = 1}));
    job.step([](int, std::int64_t) { return 64.0F; });  // each rank's weights of the other's slices are stale now
    job.optimizer->begin_step(*job.stream);
    WaitRecorder first, last;
    if (communicator.rank() == 0) {
      job.optimizer->before_use(job.parameters[kFirst], *job.stream);
      job.optimizer->before_use(job.parameters[kLast], last);
    } else {
      job.optimizer->before_use(job.parameters[kFirst], first);
      job.stream->wait(first.awaited);
    }
    job.stream->enqueue([&] { used[communicator.rank()] = job.stored(&Parameter::weight)[kFirst]; });
    const Event forward = job.stream->record();

    if (communicator.rank() == 0) {
      EXPECT_TRUE(drive_until(communicator, [&] { return forward.done(); }));
      EXPECT_FALSE(last.awaited.done());
      job.stream->wait(last.awaited);
      forward_has_run.set();
    } else {  // one call of progress completes one collective at most: the last is not begun here
      EXPECT_TRUE(drive_until(communicator, [&] { return first.awaited.done(); }));
      EXPECT_TRUE(forward_has_run.wait_for(2 * kNever));
    }
    finish_without_gradients(job);
  });
  EXPECT_EQ(used[0], used[1]);
}

}  // namespace
}  // namespace minim
