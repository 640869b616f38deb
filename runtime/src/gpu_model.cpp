#include "minim/runtime/gpu_model.h"

#include <algorithm>

namespace minim {
namespace {

constexpr double kTera = 1e12;
constexpr double kGiga = 1e9;

constexpr std::int64_t mib(std::int64_t count) { return count << 20; }

// Limits of kernels: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability". Peaks are those without
// sparsity at boost clock, links are of one direction.

// NVIDIA H100 Tensor Core GPU datasheet, SXM5: 1979 TFLOPS FP16 and BF16 with sparsity, 67 TFLOPS FP32, 3.35 TB/s, NVLink
// 900 GB/s.
GpuModel h100() {
  return {.name = "h100",
          .full_name = "NVIDIA H100 80GB HBM3",
          .capability = 90,
          .memory_bytes = mib(81559),
          .l2_cache_bytes = mib(50),
          .multiprocessors = 132,
          .threads_per_multiprocessor = 2048,
          .blocks_per_multiprocessor = 32,
          .shared_memory_per_block_bytes = 227 << 10,
          .tensor_flops = 989.5 * kTera,
          .fp32_flops = 67 * kTera,
          .memory_bandwidth = 3350 * kGiga,
          .has_nvlink = true,
          .link_bandwidth = 450 * kGiga,
          .network_gbit = 400};
}

// NVIDIA H200 Tensor Core GPU datasheet, SXM: an H100 with 141 GB at 4.8 TB/s.
GpuModel h200() {
  GpuModel model = h100();
  model.name = "h200";
  model.full_name = "NVIDIA H200";
  model.memory_bytes = mib(143156);
  model.memory_bandwidth = 4800 * kGiga;
  return model;
}

}  // namespace

const std::vector<GpuModel>& gpu_models() {
  static const std::vector<GpuModel> models = {
      // NVIDIA T4 Tensor Core GPU datasheet: 65 TFLOPS mixed precision, 8.1 TFLOPS FP32, 320 GB/s, PCIe 3.0 x16.
      {.name = "t4",
       .full_name = "Tesla T4",
       .capability = 75,
       .memory_bytes = mib(15360),
       .l2_cache_bytes = mib(4),
       .multiprocessors = 40,
       .threads_per_multiprocessor = 1024,
       .blocks_per_multiprocessor = 16,
       .shared_memory_per_block_bytes = 64 << 10,
       .tensor_flops = 65 * kTera,
       .fp32_flops = 8.1 * kTera,
       .memory_bandwidth = 320 * kGiga,
       .link_bandwidth = 16 * kGiga,
       .network_gbit = 100},
      // NVIDIA A100 Tensor Core GPU datasheet, SXM4 with 40 GB: 312 TFLOPS FP16 and BF16, 19.5 TFLOPS FP32, 1555 GB/s, NVLink 600
      // GB/s.
      {.name = "a100",
       .full_name = "NVIDIA A100-SXM4-40GB",
       .capability = 80,
       .memory_bytes = mib(40960),
       .l2_cache_bytes = mib(40),
       .multiprocessors = 108,
       .threads_per_multiprocessor = 2048,
       .blocks_per_multiprocessor = 32,
       .shared_memory_per_block_bytes = 163 << 10,
       .tensor_flops = 312 * kTera,
       .fp32_flops = 19.5 * kTera,
       .memory_bandwidth = 1555 * kGiga,
       .has_nvlink = true,
       .link_bandwidth = 300 * kGiga,
       .network_gbit = 200},
      // NVIDIA Ampere GA102 GPU Architecture whitepaper, GeForce RTX 3090: 71 TFLOPS FP16 with FP32 accumulate, 35.6 TFLOPS FP32,
      // 936 GB/s, PCIe 4.0 x16. Its NVLink joins two cards only.
      {.name = "rtx3090",
       .full_name = "NVIDIA GeForce RTX 3090",
       .capability = 86,
       .memory_bytes = mib(24576),
       .l2_cache_bytes = mib(6),
       .multiprocessors = 82,
       .threads_per_multiprocessor = 1536,
       .blocks_per_multiprocessor = 16,
       .shared_memory_per_block_bytes = 99 << 10,
       .tensor_flops = 71 * kTera,
       .fp32_flops = 35.6 * kTera,
       .memory_bandwidth = 936 * kGiga,
       .link_bandwidth = 32 * kGiga,
       .network_gbit = 100},
      // NVIDIA L4 Tensor Core GPU datasheet: 242 TFLOPS FP16 and BF16 with sparsity, 30.3 TFLOPS FP32, 300 GB/s, PCIe 4.0 x16.
      {.name = "l4",
       .full_name = "NVIDIA L4",
       .capability = 89,
       .memory_bytes = mib(22528),
       .l2_cache_bytes = mib(48),
       .multiprocessors = 58,
       .threads_per_multiprocessor = 1536,
       .blocks_per_multiprocessor = 24,
       .shared_memory_per_block_bytes = 99 << 10,
       .tensor_flops = 121 * kTera,
       .fp32_flops = 30.3 * kTera,
       .memory_bandwidth = 300 * kGiga,
       .link_bandwidth = 32 * kGiga,
       .network_gbit = 100},
      h100(),
      h200(),
      // NVIDIA Blackwell Architecture technical brief, HGX B200 per GPU: 4.5 PFLOPS FP16 and BF16 with sparsity, 80 TFLOPS FP32,
      // 8 TB/s, NVLink 1.8 TB/s.
      {.name = "b200",
       .full_name = "NVIDIA B200",
       .capability = 100,
       .memory_bytes = mib(184320),
       .l2_cache_bytes = mib(126),
       .multiprocessors = 148,
       .threads_per_multiprocessor = 2048,
       .blocks_per_multiprocessor = 32,
       .shared_memory_per_block_bytes = 227 << 10,
       .tensor_flops = 2250 * kTera,
       .fp32_flops = 80 * kTera,
       .memory_bandwidth = 8000 * kGiga,
       .has_nvlink = true,
       .link_bandwidth = 900 * kGiga,
       .network_gbit = 400},
      // NVIDIA RTX Blackwell GPU Architecture whitepaper, GeForce RTX 5090: 209.5 TFLOPS FP16 with FP32 accumulate, 104.8 TFLOPS
      // FP32, 1792 GB/s, PCIe 5.0 x16.
      {.name = "rtx5090",
       .full_name = "NVIDIA GeForce RTX 5090",
       .capability = 120,
       .memory_bytes = mib(31744),
       .l2_cache_bytes = mib(96),
       .multiprocessors = 170,
       .threads_per_multiprocessor = 1536,
       .blocks_per_multiprocessor = 24,
       .shared_memory_per_block_bytes = 99 << 10,
       .tensor_flops = 209.5 * kTera,
       .fp32_flops = 104.8 * kTera,
       .memory_bandwidth = 1792 * kGiga,
       .link_bandwidth = 64 * kGiga,
       .network_gbit = 100},
  };
  return models;
}

const GpuModel* find_gpu_model(std::string_view name) {
  const auto found = std::ranges::find(gpu_models(), name, &GpuModel::name);
  return found == gpu_models().end() ? nullptr : &*found;
}

}  // namespace minim
