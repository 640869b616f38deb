#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "command/node_memory.h"
#include "command/run_config.h"
#include "minim/comm/communicator.h"
#include "minim/runtime/backend.h"
#include "minim/runtime/cuda.h"

namespace minim::command {

/// What a rank finds to compute on.
struct DeviceReport {
  int node = 0;
  int device = 0;        ///< the one that is this rank's: ranks of a node take theirs in turn
  std::string name;      ///< of the device; empty where there is none for this rank
  std::string identity;  ///< tells devices apart, also those that their processes number alike
  std::string reason;    ///< one sentence: why there is none
  std::int64_t free_bytes = 0;
  bool has_gpu = false;     ///< there is a GPU, with or without a driver that works
  bool has_module = false;  ///< there is a CUDA module, be it one that can be loaded or not
};

/// What the calling rank finds, which is nothing where none is wanted. Loads the CUDA module where there is one.
DeviceReport look_for_device(const Communicator& communicator, bool wanted);

/// The reports of all ranks. Collective.
std::vector<DeviceReport> gather_reports(Communicator& communicator, const DeviceReport& own);

/// Sentences for ranks of a node that share a device.
std::vector<std::string> sharing_warnings(const std::vector<DeviceReport>& reports);

/// Where the ranks of a run compute: all on CUDA devices or all on their CPUs.
class DeviceSurvey {
 public:
  /// `wanted` is --device: "auto", "cpu" or "cuda".
  DeviceSurvey(const std::string& wanted, const std::vector<DeviceReport>& reports, int rank);
  /// Looks and gathers. Collective.
  DeviceSurvey(const std::string& wanted, Communicator& communicator);

  bool uses_cuda() const { return uses_cuda_; }
  /// Whether NCCL can connect the ranks' devices: each rank has its own.
  bool suits_nccl() const { return suits_nccl_; }
  /// What a rank has of a device where that is least. For CUDA devices only.
  const MemoryShare& memory() const { return memory_; }
  /// Sentences that the choice needs.
  const std::vector<std::string>& notices() const { return notices_; }
  /// This rank's backend; on the CPU with so many threads, else with these options for its device. Throws InvalidArgument where
  /// --device cannot be had on this rank.
  std::unique_ptr<Backend> open(int threads, CudaOptions options = {}) const;

 private:
  DeviceReport own_;
  bool uses_cuda_ = false;
  bool suits_nccl_ = false;
  MemoryShare memory_;
  std::vector<std::string> notices_;
};

/// What a configuration asks of a CUDA backend, which tells the other ranks while it is at work. `communicator` outlives it.
CudaOptions cuda_options(const RunConfig& config, Communicator& communicator);

/// Throws InvalidArgument for a --device that this process cannot use.
void check_device(const std::string& wanted);

}  // namespace minim::command
