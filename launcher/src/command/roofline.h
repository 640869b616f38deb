#pragma once

#include "minim/model/plan.h"
#include "minim/runtime/gpu_model.h"

namespace minim::command {

/// What a piece of work takes at least.
struct LeastTime {
  double seconds = 0;
  bool is_compute_bound = false;  ///< rather than by memory
};

/// The longer of its arithmetic at the device's peak and its traffic at the device's memory bandwidth.
/// Source: Williams, Waterman and Patterson, "Roofline", Communications of the ACM 52(4), 2009.
LeastTime least_time(double flops, double traffic_bytes, double peak_flops, double memory_bandwidth);

/// Of a kernel. Convolutions and products of FP16 and BF16 run in Tensor Cores; of FP32 they do not, since TF32 is not used, and
/// neither do other operations.
LeastTime least_time(const OperationCost& cost, Precision precision, const GpuModel& gpu);

}  // namespace minim::command
