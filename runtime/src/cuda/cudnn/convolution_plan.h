#pragma once

#include "convolution_problem.h"
#include "cuda/cudnn/plan.h"

namespace minim::cuda::cudnn {

/// The tensors of a convolution in its plan, whatever the pass: `w` and `bias` may be gradients.
enum ConvolutionTensor : std::int64_t { kX = 1, kW, kY, kBias };

/// A convolution of tensors stored [N, H, W, C] and of the problem's type, computed in FP32. Forward adds the bias; a weight
/// gradient with `accumulate` adds to what is there, which most of cuDNN's engines do after they have rounded the sum: none has
/// an FP32 gradient of narrower operands. The problem is not empty. Throws DeviceError when cuDNN has no plan for it.
Plan plan_convolution(const ConvolutionProblem& problem, const DeviceProperties& device);
/// The first plans for it, as make_plans.
std::vector<Plan> plans_of_convolution(const ConvolutionProblem& problem, const DeviceProperties& device, std::size_t most,
                                       const std::string& choice = {});

/// For messages, and to know a problem by.
std::string describe(const ConvolutionProblem& problem);

}  // namespace minim::cuda::cudnn
