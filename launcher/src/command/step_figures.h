#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "command/experiment.h"
#include "command/run_config.h"
#include "minim/model/plan.h"
#include "minim/optimizer/sharded_optimizer.h"

namespace minim::command {

/// What one step of one rank needs and does, in one precision. Bytes are what a run allocates.
struct StepFigures {
  std::string precision;
  OptimizerMemory optimizer;
  PlanMemory plan;
  std::int64_t state_bytes = 0;    ///< of operations
  std::int64_t staging_bytes = 0;  ///< batches that are read ahead, small values on their way, what caches hold at most
  std::int64_t total_bytes = 0;

  /// What lies on the device where that has memory of its own.
  std::int64_t device_bytes() const { return total_bytes - staging_bytes - optimizer.staging_bytes; }

  double flops = 0;  ///< of all micro-batches
  std::int64_t gradient_message_bytes = 0, weight_message_bytes = 0;
  std::int64_t parameters = 0;
  std::vector<OperationCost> costs;  ///< of one micro-batch
};

/// Figures of a resolved configuration, computed without allocating tensors, for ranks with such a backend each in a run of
/// `total_steps`. The costs refer to parameters of the network.
StepFigures figures_of(const RunConfig& config, const Network& network, const ImageTask& task, int ranks, Backend& backend,
                       std::int64_t total_steps);

}  // namespace minim::command
