#include "average_kernels.h"

#include "cuda_kernels.h"
#include "minim/optimizer/step_state.h"
#include "minim/runtime/error.h"

namespace minim {

namespace {

void average(const AverageWeights& args) {
  if (static_cast<const StepState*>(args.state.raw())->last_applied == 0) return;
  const auto rate = static_cast<float>(1 - args.decay);
  const auto* const weight = args.weight.data<float>();
  auto* const average = args.average.data<float>();
  const std::int64_t n = args.average.elements();
#pragma omp parallel for simd schedule(static)
  for (std::int64_t i = 0; i < n; ++i) average[i] += rate * (weight[i] - average[i]);
}

}  // namespace

void check(const AverageWeights& args) {
  const bool fits = args.weight.dtype() == DType::fp32 && args.average.dtype() == DType::fp32 &&
                    args.weight.elements() == args.average.elements();
  if (!fits) throw InvalidArgument("average of weights: weights and average are not FP32 or differ in number");
}

void add_average_kernel(Backend& backend) {
  if (add_cuda_kernels(backend) || backend.has_kernel<AverageWeights>()) return;
  const auto prepare = [](const AverageWeights& args) -> std::function<void()> {
    check(args);
    return [args] { average(args); };
  };
  backend.add_kernel(prepared_host_kernel<AverageWeights>(prepare), backend.name());
}

}  // namespace minim
