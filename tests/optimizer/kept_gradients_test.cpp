#include <gtest/gtest.h>

#include <span>

#include "minim/optimizer/sharded_optimizer.h"
#include "minim/runtime/error.h"
#include "optimizer/rank_job.h"

namespace minim {
namespace {

using testing::constant_scale;
using testing::RankJob;
using testing::run_ranks;

/// A step whose micro-batches add their gradients, each all of one value, to what they find, as kernels do. `left_out`: a
/// parameter that the last has no gradient of.
void step(RankJob& job, std::span<const float> micro_batches, int left_out = -1) {
  ShardedOptimizer& optimizer = *job.optimizer;
  Stream& stream = *job.stream;
  optimizer.begin_step(stream);
  for (const Parameter& parameter : job.parameters) optimizer.before_use(parameter, stream);
  std::ranges::fill(job.sums.view().span<float>(), 1.0F);
  for (std::size_t m = 0; m < micro_batches.size(); ++m) {
    const bool last = m + 1 == micro_batches.size();
    for (int p = static_cast<int>(job.parameters.size()) - 1; p >= 0; --p) {
      if (last && p == left_out) continue;
      const Parameter& parameter = job.parameters[static_cast<std::size_t>(p)];
      const float value = micro_batches[m];
      stream.enqueue([&parameter, value, m] {
        const TensorView& gradient = parameter.gradient;
        dispatch_floating(gradient.dtype(), [&](auto type) {
          auto* data = gradient.data<decltype(type)>();
          for (std::int64_t i = 0; i < gradient.elements(); ++i) {
            data[i] = round_to<decltype(type)>(value + (m == 0 ? 0.0F : to_float(data[i])));
          }
        });
      });
      if (last) optimizer.gradient_ready(parameter, stream);
    }
    if (!last) optimizer.keep_gradients(stream);
  }
  const TensorView all = job.sums.view();
  optimizer.finish_step(stream, all.slice(0, 1), all.slice(1, 2), all.slice(2, 3), {});
  optimizer.drain();
}

OptimizerConfig keeping(bool accumulate_fp32) {
  OptimizerConfig config = constant_scale(1);
  config.accumulate_fp32 = accumulate_fp32;
  return config;
}

/// All elements of all gradients equal what FP16 and FP32 parameters should have.
void expect_gradients(const RankJob& job, float half, float single) {
  const auto gradients = job.stored(&Parameter::gradient);
  for (std::size_t p = 0; p < gradients.size(); ++p) {
    const Parameter& parameter = job.parameters[p];
    for (std::int64_t i = 0; i < parameter.shape.elements(); ++i) {
      ASSERT_EQ(gradients[p][static_cast<std::size_t>(i)], parameter.keep_fp32 ? single : half) << parameter.name;
    }
  }
}

// FP16 has no number between 2048 and 2050: what is added one by one gets lost, the sum 2051 is rounded to 2052.
constexpr float kMicroBatches[] = {2048, 1, 1, 1};

TEST(KeptGradients, AreAddedUpInFp32) {
  run_ranks(1, [](Communicator& communicator) {
    RankJob job(communicator, keeping(true));
    for (int repeated = 0; repeated < 2; ++repeated) {
      step(job, kMicroBatches);
      expect_gradients(job, 2052, 2051);
    }
    step(job, std::span(kMicroBatches).first(1));
    expect_gradients(job, 2048, 2048);
  });
}

TEST(KeptGradients, AreAddedUpInTheirTypeUnlessAskedFor) {
  run_ranks(1, [](Communicator& communicator) {
    RankJob job(communicator, keeping(false));
    step(job, kMicroBatches);
    expect_gradients(job, 2048, 2051);
  });
}

TEST(KeptGradients, CountWhereTheLastMicroBatchHasNone) {
  run_ranks(1, [](Communicator& communicator) {
    RankJob job(communicator, keeping(true));
    step(job, std::span(kMicroBatches).first(3), /*left_out=*/2);
    const auto gradients = job.stored(&Parameter::gradient);
    EXPECT_EQ(gradients[0][0], 2050);
    EXPECT_EQ(gradients[2][0], 2048);  // 2049, to even
  });
}

TEST(KeptGradients, ThatOverflowSkipTheStep) {
  run_ranks(2, [](Communicator& communicator) {
    RankJob job(communicator, keeping(true));
    constexpr float kLarge[] = {60000, 60000};
    step(job, kLarge);
    EXPECT_EQ(job.optimizer->state().last_applied, 0);
  });
}

TEST(KeptGradients, AreOfAStepThatHasBegun) {
  run_ranks(1, [](Communicator& communicator) {
    const RankJob job(communicator, keeping(true));
    EXPECT_THROW(job.optimizer->keep_gradients(*job.stream), InvalidArgument);
  });
}

}  // namespace
}  // namespace minim
