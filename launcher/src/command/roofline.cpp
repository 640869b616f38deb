#include "command/roofline.h"

#include <algorithm>

namespace minim::command {

LeastTime least_time(double flops, double traffic_bytes, double peak_flops, double memory_bandwidth) {
  const double compute = flops / peak_flops;
  const double memory = traffic_bytes / memory_bandwidth;
  return {.seconds = std::max(compute, memory), .is_compute_bound = compute > memory};
}

LeastTime least_time(const OperationCost& cost, Precision precision, const GpuModel& gpu) {
  const bool is_product = cost.type == "conv2d" || cost.type == "linear";
  const bool in_tensor_cores = is_product && compute_dtype(precision) != DType::fp32;
  return least_time(cost.flops, static_cast<double>(cost.bytes), in_tensor_cores ? gpu.tensor_flops : gpu.fp32_flops,
                    gpu.memory_bandwidth);
}

}  // namespace minim::command
