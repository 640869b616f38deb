#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "convolution_problem.h"
#include "cuda/cuda_device.h"
#include "cuda/cudnn/plan.h"

namespace minim::cuda::cudnn {

/// The fastest of some plans for a convolution, timed on the device in memory of its own, of those whose sums are right: operands
/// are integers whose sums FP32 holds exactly in any order, and some elements of the result must be these sums, rounded once. The
/// first plan stays unless another is clearly faster, so that noise decides little. `at_work` is called between runs. Nothing
/// where the device has no memory for it. Throws DeviceError when no plan is right.
std::optional<Plan> fastest_plan(const ConvolutionProblem& problem, const std::vector<Plan>& candidates,
                                 const std::shared_ptr<CudaDevice>& device, const std::function<void()>& at_work);

}  // namespace minim::cuda::cudnn
