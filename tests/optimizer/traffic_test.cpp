#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "optimizer/rank_job.h"

namespace minim {
namespace {

using testing::plain;
using testing::RankJob;
using testing::run_ranks;

TEST(Traffic, OnlyFp16GivesUpBitsForHeadroomOnTheWire) {
  ASSERT_GE(wire_exponent(4), 1);
  for (const Precision precision : {Precision::mixed, Precision::bf16, Precision::fp32}) {
    run_ranks(4, [&](Communicator& communicator) {
      OptimizerConfig config = plain({.mode = LossScaleMode::constant, .initial = 1});
      config.precision = precision;
      RankJob job(communicator, config);
      for (const Parameter& parameter : job.parameters) {
        const auto elements = static_cast<std::size_t>(parameter.shape.elements());
        job.optimizer->set_array(job.optimizer->array_names()[0], parameter, std::vector<float>(elements, 100));
      }
      job.step([](int, std::int64_t) { return 8.0F; });
      for (const Parameter& parameter : job.parameters) {
        const int p = parameter.gradient.dtype() == DType::fp16 ? wire_exponent(4) : 0;
        const float wire = dispatch_floating(parameter.gradient.dtype(),
                                             [&](auto type) { return to_float(parameter.gradient.data<decltype(type)>()[0]); });
        EXPECT_EQ(wire, std::ldexp(4 * 8.0F, -p)) << parameter.name;
      }
      for (const auto& weights : job.arrays()) {
        for (const float weight : weights) ASSERT_EQ(weight, 100 - 8);  // the mean, whatever travelled
      }
    });
  }
}

/// Spoils every weight that other ranks own.
void spoil_slices_of_others(RankJob& job, int rank, int world_size) {
  const auto pointers = RankJob::pointers(job.parameters);
  for (const Bucket& bucket : plan_buckets(pointers, DType::fp16, world_size, job.optimizer->config().buckets)) {
    for (const BucketEntry& entry : bucket.entries) {
      const TensorView& weight = entry.parameter->weight;
      dispatch_floating(weight.dtype(), [&](auto type) {
        for (std::int64_t i = 0; i < entry.elements; ++i) {
          if ((entry.offset + i) / bucket.slice_elements(world_size) == rank) continue;
          weight.data<decltype(type)>()[i] = round_to<decltype(type)>(-1234.0F);
        }
      });
    }
  }
}

TEST(Traffic, WeightsAreGatheredAfterASkippedStepToo) {
  constexpr int kRanks = 3;
  run_ranks(kRanks, [](Communicator& communicator) {
    RankJob job(communicator, plain());
    const auto ones = [](int, std::int64_t) { return 1.0F; };
    job.step(ones);
    job.step([](int, std::int64_t) { return std::numeric_limits<float>::infinity(); });
    ASSERT_EQ(job.optimizer->state().outcome, static_cast<int>(Outcome::skipped));
    const auto weights = job.stored(&Parameter::weight);
    spoil_slices_of_others(job, communicator.rank(), kRanks);
    EXPECT_NE(job.stored(&Parameter::weight), weights);

    EXPECT_EQ(job.step(ones).outcome, static_cast<int>(Outcome::applied));
    EXPECT_EQ(job.seen, weights);
  });
}

}  // namespace
}  // namespace minim
