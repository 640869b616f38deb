#include "command/roofline.h"

#include <gtest/gtest.h>

namespace minim::command {
namespace {

/// 100 FLOP/s in Tensor Cores, 10 outside, 5 B/s.
const GpuModel kGpu = {.tensor_flops = 100, .fp32_flops = 10, .memory_bandwidth = 5};

LeastTime time_of(const char* type, double flops, std::int64_t traffic_bytes, Precision precision) {
  OperationCost cost;
  cost.type = type;
  cost.flops = flops;
  cost.bytes = traffic_bytes;
  return least_time(cost, precision, kGpu);
}

TEST(Roofline, IsTheLongerOfArithmeticAndTraffic) {
  const LeastTime compute = least_time(/*flops=*/60, /*traffic_bytes=*/10, /*peak_flops=*/20, /*memory_bandwidth=*/5);
  EXPECT_EQ(compute.seconds, 3);
  EXPECT_TRUE(compute.is_compute_bound);
  const LeastTime memory = least_time(20, 10, 20, 5);
  EXPECT_EQ(memory.seconds, 2);
  EXPECT_FALSE(memory.is_compute_bound);
}

TEST(Roofline, HasTensorCoresForNarrowProductsOnly) {
  for (const char* type : {"conv2d", "linear"}) {
    EXPECT_EQ(time_of(type, 400, 5, Precision::mixed).seconds, 4);
    EXPECT_EQ(time_of(type, 400, 5, Precision::bf16).seconds, 4);
    EXPECT_EQ(time_of(type, 400, 5, Precision::fp32).seconds, 40);
  }
  EXPECT_EQ(time_of("batch_norm", 400, 5, Precision::mixed).seconds, 40);
  EXPECT_EQ(time_of("batch_norm", 4, 5, Precision::mixed).seconds, 1);
}

}  // namespace
}  // namespace minim::command
