#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "cuda/cudnn/descriptor.h"
#include "minim/runtime/gpu_model.h"

namespace minim::cuda::cudnn {

/// What cuDNN has to know of a device to plan for it.
class DeviceProperties {
 public:
  /// Of a device of this process.
  static DeviceProperties of_device(int index);
  /// Of a device that need not be here. Takes no driver.
  static DeviceProperties of_model(const GpuModel& model);

  const Descriptor& descriptor() const { return descriptor_; }

 private:
  explicit DeviceProperties(Descriptor descriptor) : descriptor_(std::move(descriptor)) {}

  Descriptor descriptor_;
};

/// Every tensor starts on a multiple of this, as those of arenas and buckets do.
inline constexpr std::int64_t kTensorAlignmentBytes = 16;

/// Which engines may be taken. Never those that repeat no bits, convert inputs to a narrower type, add in one, or multiply
/// transformed numbers (Winograd, FFT): results are sums of products in FP32.
struct PlanRules {
  bool tensor_cores = true;  ///< for FP32 that would be TF32
  std::int64_t most_workspace_bytes = 0;
  std::span<const std::int64_t> refused_engines = {};  ///< by cuDNN's numbers: those that do more than cuDNN says
};

/// How cuDNN computes an operation graph on a device.
struct Plan {
  Descriptor descriptor;
  std::int64_t engine;  ///< cuDNN's number of the engine among those for such graphs
  std::string choice;   ///< of engine and settings, as text: of the same proposal always the same
  std::int64_t workspace_bytes;
  bool tensor_cores;  ///< whether these multiply
};

/// The first plans of those that cuDNN's heuristics propose which the rules allow, at most `most`; with `choice` only those of
/// that choice. Throws DeviceError when there is none.
std::vector<Plan> make_plans(const Descriptor& graph, const DeviceProperties& device, const PlanRules& rules, std::size_t most,
                             const std::string& choice = {});

}  // namespace minim::cuda::cudnn
