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

/// Parameters of RankJob by bucket: bucket 0 holds "conv" and "fc", bucket 1 holds "norm" in FP32, bucket 2 holds "bias".
constexpr int kConv = 0, kNorm = 1, kFc = 2, kBias = 3;

/// Scaled gradients of the two ranks, and what a bucket holds after their reduction: FP16 travels halved.
constexpr float kLocal[] = {4, 8};
constexpr float kSumFp16 = 6, kSumFp32 = 12;

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

/// Keeps what others wait for, so that a test sees the event itself. Runs nothing.
class WaitRecorder : public Stream {
 public:
  void enqueue(std::function<void()>) override {}
  void enqueue_borrowed(const std::function<void()>*) override {}
  void wait(const Event& event) override { awaited = event; }
  Event record() override { return {}; }
  void synchronize() override {}

  Event awaited;
};

/// A step taken apart.
struct TwoRankJob : RankJob {
  explicit TwoRankJob(Communicator& communicator_) : RankJob(communicator_, plain()) {}

  const Parameter& parameter(int p) const { return parameters[static_cast<std::size_t>(p)]; }
  void begin() {
    optimizer->begin_step(*stream);
    for (const Parameter& each : parameters) optimizer->before_use(each, *stream);
  }
  void backward(int p) {
    stream->enqueue([this, p] { fill(parameter(p).gradient, [this](std::int64_t) { return kLocal[communicator.rank()]; }); });
    optimizer->gradient_ready(parameter(p), *stream);
  }
  /// Completes after all collectives that have been issued so far, and after the kernels so far.
  Work fence() { return communicator.barrier({.label = "fence", .after = stream->record()}); }
  void finish() {
    stream->enqueue([this] { std::ranges::fill(sums.span<float>(), 1.0F); });
    const TensorView all = sums.view();
    optimizer->finish_step(*stream, all.slice(0, 1), all.slice(1, 2), all.slice(2, 3), {});
    optimizer->drain(*stream);
    EXPECT_EQ(optimizer->state().outcome, static_cast<int>(Outcome::applied));
  }
  /// All elements of the gradient are `value`.
  bool gradient_is(int p, float value) const {
    const TensorView& gradient = parameter(p).gradient;
    return dispatch_floating(gradient.dtype(), [&](auto type) {
      const auto values = gradient.span<decltype(type)>();
      return std::all_of(values.begin(), values.end(), [&](auto each) { return to_float(each) == value; });
    });
  }
};

TEST(Overlap, TheLastBucketIsReducedWhileBackwardIsStillUnderWay) {
  run_ranks(2, [](Communicator& communicator) {
    TwoRankJob job(communicator);
    job.begin();
    job.backward(kBias);
    const Work fence = job.fence();
    const Event gate = Event::manual();
    job.stream->wait(gate);  // the kernel of "fc" takes its time
    const Event passed = job.stream->record();
    for (const int p : {kFc, kNorm, kConv}) job.backward(p);

    EXPECT_TRUE(drive_until(communicator, [&] { return fence.done(); }));
    EXPECT_TRUE(job.gradient_is(kBias, kSumFp16));
    EXPECT_FALSE(passed.done());
    gate.set();
    job.finish();
    EXPECT_TRUE(job.gradient_is(kConv, kSumFp16));
  });
}

TEST(Overlap, ABucketThatIsCompleteEarlyWaitsForItsTurn) {
  run_ranks(2, [](Communicator& communicator) {
    TwoRankJob job(communicator);
    const float local = kLocal[communicator.rank()];
    job.begin();
    job.backward(kConv);
    job.backward(kFc);
    job.fence().wait();
    EXPECT_TRUE(job.gradient_is(kConv, local));
    job.backward(kNorm);
    job.fence().wait();
    EXPECT_TRUE(job.gradient_is(kConv, local));
    EXPECT_TRUE(job.gradient_is(kNorm, local));
    job.backward(kBias);  // the last one: now all three go
    job.fence().wait();
    EXPECT_TRUE(job.gradient_is(kBias, kSumFp16));
    EXPECT_TRUE(job.gradient_is(kNorm, kSumFp32));
    EXPECT_TRUE(job.gradient_is(kConv, kSumFp16));
    EXPECT_TRUE(job.gradient_is(kFc, kSumFp16));
    job.finish();
  });
}

TEST(Overlap, ForwardUsesTheFirstBucketBeforeTheLastIsGathered) {
  std::vector<float> used[2];
  const Event forward_has_run = Event::manual();
  run_ranks(2, [&](Communicator& communicator) {
    TwoRankJob job(communicator);
    job.step([](int, std::int64_t) { return 64.0F; });  // each rank's weights of the other's slices are stale now
    job.optimizer->begin_step(*job.stream);
    WaitRecorder first, last;
    if (communicator.rank() == 1) {
      job.optimizer->before_use(job.parameter(kConv), first);
      job.stream->wait(first.awaited);
    } else {
      job.optimizer->before_use(job.parameter(kConv), *job.stream);
      job.optimizer->before_use(job.parameter(kBias), last);
    }
    job.stream->enqueue([&] { used[communicator.rank()] = job.stored(&Parameter::weight)[kFc]; });
    const Event forward = job.stream->record();

    if (communicator.rank() == 1) {  // one call of progress completes one collective at most: the last is not even begun
      EXPECT_TRUE(drive_until(communicator, [&] { return first.awaited.done(); }));
      EXPECT_TRUE(forward_has_run.wait_for(2 * kNever));
    } else {
      EXPECT_TRUE(drive_until(communicator, [&] { return forward.done(); }));
      EXPECT_FALSE(last.awaited.done());
      job.stream->wait(last.awaited);
      forward_has_run.set();
    }
    for (const int p : {kBias, kFc, kNorm, kConv}) job.backward(p);
    job.finish();
  });
  EXPECT_EQ(used[0], used[1]);
}

}  // namespace
}  // namespace minim
