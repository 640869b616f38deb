#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace minim {

/// What is known of a GPU that need not be here: enough for cuDNN to plan for it, and for bounds on what it can do.
struct GpuModel {
  std::string_view name;       ///< "h100"
  std::string_view full_name;  ///< "NVIDIA H100 80GB HBM3"
  int capability = 0;          ///< 90 for sm_90
  std::int64_t memory_bytes = 0;
  std::int64_t l2_cache_bytes = 0;
  int multiprocessors = 0;
  int threads_per_multiprocessor = 0;
  int blocks_per_multiprocessor = 0;
  std::int64_t shared_memory_per_block_bytes = 0;  ///< that a kernel can ask for

  double tensor_flops = 0;      ///< per second, dense products of FP16 and, where there is BF16, of BF16, with sums in FP32
  double fp32_flops = 0;        ///< per second, outside Tensor Cores
  double memory_bandwidth = 0;  ///< bytes per second
  bool has_nvlink = false;      ///< among the GPUs of a node; else they use PCIe
  double link_bandwidth = 0;    ///< bytes per second to the other GPUs of a node, in one direction
  double network_gbit = 0;      ///< Gbit/s of the network link per GPU that is usual with it

  bool has_bf16() const { return capability >= 80; }
};

/// All of them, in the order of their capability.
const std::vector<GpuModel>& gpu_models();
/// Null where there is none of this name.
const GpuModel* find_gpu_model(std::string_view name);

}  // namespace minim
