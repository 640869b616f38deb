#pragma once

#include <string>

#include "command/overlap.h"
#include "command/step_figures.h"
#include "minim/runtime/gpu_model.h"

namespace minim::command {

/// A run on GPUs that need not be here.
struct DevicePlan {
  const GpuModel& gpu;
  const Network& network;
  const RunConfig& config;  ///< resolved
  const StepFigures& figures;
  double network_gbit = 0;
  std::int64_t total_steps = 0;
  std::string lacking;  ///< why no workspace is known; empty where they are
};

/// The step of so many ranks, each kernel in its least time.
TimedStep timed_step(const DevicePlan& plan, int ranks);

/// Prints whether a rank fits into its device, the least time of its step by kinds of operations, and for numbers of ranks, which
/// are 8, 64, 512 and `ranks`, how much of the communication hides.
void print_device_plan(const DevicePlan& plan, std::int64_t largest_batch, int ranks);

}  // namespace minim::command
