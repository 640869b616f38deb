#include <gtest/gtest.h>

#include <array>
#include <chrono>

#include "launcher/rank_threads.h"
#include "minim/optimizer/sharded_optimizer.h"

namespace minim {
namespace {

constexpr std::int64_t kElements = 512;
constexpr int kRanks = 2;
constexpr float kReduced = 1.5F;  // 2^-1 * (1 + 2): what two ranks put in, times 2^-p of two ranks

/// A rank with three parameters, each in a bucket of its own; its gradients are rank + 1 everywhere.
/// Gradients are reduce-scattered, so that a rank's own slice is written by the thread that drives its communicator.
struct Rank {
  explicit Rank(Communicator& communicator_) : communicator(communicator_), backend(make_cpu_backend(1)), parameters(3) {
    std::vector<Parameter*> pointers;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      parameters[i].name = std::string("parameter ") + static_cast<char>('a' + i);
      parameters[i].shape = Shape{kElements};
      pointers.push_back(&parameters[i]);
    }
    OptimizerConfig config;
    config.grad_sync = GradSync::reduce_scatter;
    config.buckets.bucket_bytes = kElements;
    optimizer = std::make_unique<ShardedOptimizer>(*backend, communicator, pointers, config);
    sums = backend->allocate_tensor(DType::fp32, Shape{1}, MemoryKind::input);
    sums.span<float>()[0] = 1;
    stream = backend->make_stream("compute");
    optimizer->begin_step(*stream);
    for (const Parameter& parameter : parameters) optimizer->before_use(parameter, *stream);
  }

  void make_ready(int index) {
    const Parameter& parameter = parameters[static_cast<std::size_t>(index)];
    stream->enqueue([this, &parameter] {
      for (Half& value : parameter.gradient.span<Half>()) value = to_half(static_cast<float>(communicator.rank() + 1));
    });
    computed[static_cast<std::size_t>(index)] = stream->record();
    optimizer->gradient_ready(parameter, *stream);
  }

  bool is_reduced(int index) const {
    const std::int64_t own = communicator.rank() * kElements / kRanks;
    return to_float(parameters[static_cast<std::size_t>(index)].gradient.span<Half>()[static_cast<std::size_t>(own)]) == kReduced;
  }

  /// Drives the communicator until the bucket is reduced; false when that has not happened for long. Looks at the gradient only
  /// after it has been computed.
  bool drive_until_reduced(int index) const {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!computed[static_cast<std::size_t>(index)].done() || !is_reduced(index)) {
      if (std::chrono::steady_clock::now() > end) return false;
      communicator.progress();
    }
    return true;
  }

  void finish() {
    optimizer->finish_step(*stream, sums, sums, sums, {});
    optimizer->drain();
    EXPECT_EQ(optimizer->state().outcome, static_cast<int>(Outcome::applied));
    for (int index = 0; index < 3; ++index) EXPECT_TRUE(is_reduced(index));
  }

  Communicator& communicator;
  std::unique_ptr<Backend> backend;
  std::vector<Parameter> parameters;
  std::unique_ptr<ShardedOptimizer> optimizer;
  Tensor sums;
  std::array<Event, 3> computed;  ///< by parameter: its gradient
  std::unique_ptr<Stream> stream;
};

TEST(Overlap, ABucketIsReducedWhileBackwardIsStillAtWork) {
  testing::run_ranks(kRanks, [](Communicator& communicator) {
    Rank rank(communicator);
    rank.make_ready(2);
    const Event gate = Event::manual();
    rank.stream->wait(gate);  // the rest of backward
    rank.make_ready(1);
    EXPECT_TRUE(rank.drive_until_reduced(2));
    EXPECT_FALSE(rank.is_reduced(1));
    gate.set();
    rank.make_ready(0);
    rank.finish();
  });
}

TEST(Overlap, ABucketThatIsCompleteEarlyWaitsItsTurn) {
  testing::run_ranks(kRanks, [](Communicator& communicator) {
    Rank rank(communicator);
    rank.make_ready(0);
    rank.make_ready(1);
    // Collectives complete in the order of their issue: a reduction that has been issued is through when this barrier is.
    communicator.barrier({.label = "fence", .after = rank.stream->record()}).wait();
    EXPECT_FALSE(rank.is_reduced(0));
    EXPECT_FALSE(rank.is_reduced(1));
    rank.make_ready(2);
    EXPECT_TRUE(rank.drive_until_reduced(2));
    rank.finish();
  });
}

TEST(Overlap, AMissingGradientIsZeroOnEveryRankBeforeItIsReduced) {
  testing::run_ranks(kRanks, [](Communicator& communicator) {
    Rank rank(communicator);
    for (Half& value : rank.parameters[0].gradient.span<Half>()) value = to_half(1);  // of a step before
    rank.make_ready(2);
    rank.make_ready(1);
    const Event gate = Event::manual();
    if (communicator.rank() == 0) rank.stream->wait(gate);
    rank.optimizer->finish_step(*rank.stream, rank.sums, rank.sums, rank.sums, {});
    if (communicator.rank() == 0) {
      EXPECT_TRUE(rank.drive_until_reduced(1));
      for (int i = 0; i < 1000; ++i) communicator.progress();  // the next reduction would be made now
      gate.set();
    }
    rank.optimizer->drain();
    for (const Half value : rank.parameters[0].gradient.span<Half>()) EXPECT_EQ(to_float(value), 0);
  });
}

}  // namespace
}  // namespace minim
