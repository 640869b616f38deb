#include "average_kernels.h"
#include "cuda/cuda_kernel.h"
#include "cuda/flat.cuh"
#include "cuda/kernels.h"
#include "cuda/optimizer_kernels.h"
#include "minim/optimizer/step_state.h"

namespace minim::cuda {
namespace average_kernels {

struct Approach {
  float rate;
  __device__ float operator()(float average, float weight) const { return average + rate * (weight - average); }
};

__global__ void __launch_bounds__(kThreads)
    average_weights(FlatLoop loop, Approach approach, float* average, const float* weight, const StepState* state) {
  if (state->last_applied != 0) for_flat<kPack<float>>(loop, approach, average, average, weight);
}

std::function<void(Stream&)> make(const AverageWeights& args) {
  check(args);
  float* average = device_pointer<float>(args.average);
  const auto* weight = device_pointer<float>(args.weight);
  const auto* state = static_cast<const StepState*>(args.state.raw());
  const FlatLoop loop = flat_loop<kPack<float>>(args.average.elements(), average, weight);
  const Approach approach{static_cast<float>(1 - args.decay)};
  return [=](Stream& stream) {
    launch<average_weights>(stream, shape_for<kPack<float>>(loop), loop, approach, average, weight, state);
  };
}

}  // namespace average_kernels

void add_average_weights_kernel(Backend& backend) {
  backend.add_kernel<AverageWeights>(cuda_kernel<AverageWeights>(average_kernels::make), kSet);
}

}  // namespace minim::cuda
