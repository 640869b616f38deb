#include "minim/runtime/gpu_model.h"

#include <gtest/gtest.h>

namespace minim {
namespace {

TEST(GpuModel, IsFoundByItsName) {
  for (const GpuModel& model : gpu_models()) EXPECT_EQ(find_gpu_model(model.name), &model);
  EXPECT_EQ(find_gpu_model("cuda"), nullptr);
  EXPECT_EQ(find_gpu_model(""), nullptr);
}

TEST(GpuModel, IsDescribedInConsistentUnits) {
  for (const GpuModel& model : gpu_models()) {
    EXPECT_GT(model.memory_bytes, std::int64_t{14} << 30) << model.name;
    EXPECT_GE(model.l2_cache_bytes, 4 << 20) << model.name;
    EXPECT_GE(model.shared_memory_per_block_bytes, 64 << 10) << model.name;
    EXPECT_GT(model.multiprocessors, 0) << model.name;
    EXPECT_GT(model.threads_per_multiprocessor, 0) << model.name;
    EXPECT_GT(model.blocks_per_multiprocessor, 0) << model.name;
    EXPECT_GT(model.tensor_flops, model.fp32_flops) << model.name;
    EXPECT_GT(model.fp32_flops, model.memory_bandwidth) << model.name;
    EXPECT_GT(model.memory_bandwidth, model.link_bandwidth) << model.name;
    EXPECT_GE(model.link_bandwidth, model.network_gbit * 1e9 / 8) << model.name;
  }
}

}  // namespace
}  // namespace minim
