#include "minim/runtime/kernels/convolution.h"

#include <algorithm>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "cuda/activation.h"
#include "cuda/cuda_kernel.h"
#include "cuda/cudnn/convolution_plan.h"
#include "cuda/cudnn/execution.h"
#include "cuda/cudnn/plan_cache.h"
#include "cuda/cudnn/tuning.h"
#include "cuda/kernels.h"
#include "cuda/rows.h"
#include "minim/runtime/cuda.h"

namespace minim::cuda {
namespace {

using cudnn::BoundTensor;
using cudnn::Execution;
using cudnn::Plan;

using MakePlan = std::function<Plan(const ConvolutionProblem&, const cudnn::DeviceProperties&)>;

/// Timed on the device, where the cache does not know better already.
Plan tuned_plan(const ConvolutionProblem& problem, const cudnn::DeviceProperties& properties,
                const std::shared_ptr<CudaDevice>& device, cudnn::PlanCache& cache, const std::function<void()>& at_work) {
  constexpr std::size_t kMostTimed = 8;
  const std::string name = cudnn::describe(problem);
  if (const std::string choice = cache.find(name); !choice.empty()) {
    try {
      return cudnn::plans_of_convolution(problem, properties, 1, choice).front();
    } catch (const DeviceError&) {  // cuDNN does not propose it any more, or never has: whoever wrote the cache
    }
  }
  const std::vector<Plan> plans = cudnn::plans_of_convolution(problem, properties, kMostTimed);
  const auto fastest = cudnn::fastest_plan(problem, plans, device, at_work);
  if (!fastest) return plans.front();
  cache.keep(name, fastest->choice);
  return *fastest;
}

/// The plans of one device: what asks for the size of a workspace and what is prepared later get the same. Thread-safe.
class ConvolutionPlans {
 public:
  /// `properties` is called when there is something to plan.
  explicit ConvolutionPlans(std::function<cudnn::DeviceProperties()> properties, MakePlan make = cudnn::plan_convolution)
      : ask_(std::move(properties)), make_(std::move(make)) {}

  std::shared_ptr<const Plan> find(const ConvolutionProblem& problem) {
    const std::scoped_lock lock(mutex_);
    const auto found = std::ranges::find(plans_, problem, &Entry::first);
    if (found != plans_.end()) return found->second;
    if (!properties_) properties_ = ask_();
    return plans_.emplace_back(problem, std::make_shared<const Plan>(make_(problem, *properties_))).second;
  }

 private:
  using Entry = std::pair<ConvolutionProblem, std::shared_ptr<const Plan>>;

  std::mutex mutex_;
  std::function<cudnn::DeviceProperties()> ask_;
  std::optional<cudnn::DeviceProperties> properties_;
  MakePlan make_;
  std::vector<Entry> plans_;
};

using Enqueue = std::function<void(Stream&)>;

Enqueue execution(ConvolutionPlans& plans, const ConvolutionProblem& problem, const std::vector<BoundTensor>& tensors,
                  TensorView workspace) {
  return [execution = Execution(plans.find(problem), tensors, workspace)](Stream& stream) { execution.enqueue(stream); };
}

Enqueue make_sums(const Conv2dForward& args, ConvolutionPlans& plans) {
  const auto problem = problem_of(args);
  if (problem.empty()) return make_fill_rows(args.bias, args.y);
  std::vector<BoundTensor> tensors{{cudnn::kX, args.x}, {cudnn::kW, args.w}, {cudnn::kY, args.y}};
  if (args.bias.present()) tensors.push_back({cudnn::kBias, args.bias});
  return execution(plans, problem, tensors, args.workspace);
}

Enqueue make(const Conv2dForward& args, ConvolutionPlans& plans) {
  return followed_by_activation(make_sums(args, plans), args.y, args.activation);
}

Enqueue make(const Conv2dBackwardData& args, ConvolutionPlans& plans) {
  const auto problem = problem_of(args);
  if (problem.empty()) return make_fill_zero(args.dx);
  return execution(plans, problem, {{cudnn::kX, args.dx}, {cudnn::kW, args.w}, {cudnn::kY, args.dy}}, args.workspace);
}

Enqueue make_weights(const Conv2dBackwardWeights& args, ConvolutionPlans& plans) {
  const auto problem = problem_of(args);
  if (!problem.empty()) {
    return execution(plans, problem, {{cudnn::kX, args.x}, {cudnn::kW, args.dw}, {cudnn::kY, args.dy}}, args.workspace);
  }
  return args.accumulate ? [](Stream&) {} : make_fill_zero(args.dw);
}

Enqueue make(const Conv2dBackwardWeights& args, ConvolutionPlans& plans) {
  Enqueue weights = make_weights(args, plans);
  if (!args.dbias.present()) return weights;
  return [weights, bias = make_sum_rows(args.dy, args.dbias, args.accumulate, args.workspace)](Stream& stream) {
    weights(stream);
    bias(stream);
  };
}

template <class Args>
std::int64_t workspace_bytes(const Args& args, ConvolutionPlans& plans) {
  const auto problem = problem_of(args);
  return with_bias_gradient(args, problem.empty() ? 0 : plans.find(problem)->workspace_bytes);
}

/// Of a device that need not be here. Without a driver cuDNN may have no plan where the device has one.
template <class Args>
WorkspaceSize planned_workspace(const Args& args, ConvolutionPlans& plans) {
  try {
    return workspace_bytes(args, plans);
  } catch (const DeviceError&) {
    if (has_cuda_driver()) throw;
    return {kMostCudaWorkspaceBytes, /*known=*/false};
  }
}

template <class Args>
void add(Backend& backend, const std::shared_ptr<ConvolutionPlans>& plans) {
  backend.add_kernel<Args>(cuda_kernel<Args>([plans](const Args& args) { return make(args, *plans); },
                                             [plans](const Args& args) { return workspace_bytes(args, *plans); }),
                           kSet);
}

template <class Args>
void add_workspace(Backend& backend, const std::shared_ptr<ConvolutionPlans>& plans) {
  const auto ask = [plans](const Args& args) { return planned_workspace(args, *plans); };
  backend.add_kernel<Args>({.prepare = nullptr, .workspace_bytes = ask}, kSet);
}

}  // namespace

void add_convolution_kernels(Backend& backend, const std::shared_ptr<CudaDevice>& device, const CudaOptions& options) {
  MakePlan make = cudnn::plan_convolution;
  if (options.autotune) {
    make = [device, cache = cudnn::plan_cache_for(device->info()), at_work = options.at_work](
               const ConvolutionProblem& problem, const cudnn::DeviceProperties& properties) {
      return tuned_plan(problem, properties, device, *cache, at_work);
    };
  }
  const auto properties = [index = device->index()] { return cudnn::DeviceProperties::of_device(index); };
  const auto plans = std::make_shared<ConvolutionPlans>(properties, std::move(make));
  add<Conv2dForward>(backend, plans);
  add<Conv2dBackwardData>(backend, plans);
  add<Conv2dBackwardWeights>(backend, plans);
}

void add_convolution_workspaces(Backend& backend, const GpuModel& model) {
  const auto plans = std::make_shared<ConvolutionPlans>([model] { return cudnn::DeviceProperties::of_model(model); });
  add_workspace<Conv2dForward>(backend, plans);
  add_workspace<Conv2dBackwardData>(backend, plans);
  add_workspace<Conv2dBackwardWeights>(backend, plans);
}

}  // namespace minim::cuda
