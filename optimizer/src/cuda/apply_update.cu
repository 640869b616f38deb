#include <algorithm>
#include <type_traits>

#include "cuda/cuda_kernel.h"
#include "cuda/device_array.h"
#include "cuda/floats.cuh"
#include "cuda/kernels.h"
#include "cuda/launch.h"
#include "cuda/optimizer_kernels.h"
#include "update_blocks.h"
#include "update_plan.h"

namespace minim::cuda {
namespace apply_update_kernels {

using Lane = float;
MINIM_HOST_DEVICE inline Lane splat(float value) { return value; }
MINIM_HOST_DEVICE inline Lane square_root(Lane x) { return sqrtf(x); }
#include "update_arithmetic-inl.h"

/// Elements of a block of threads.
inline constexpr std::int64_t kBlockElements = 8192;

/// The arrays of a slice: gradients G, weights W.
template <class G, class W>
struct Arrays {
  const G* gradient;
  float* master;  ///< null: the weight itself takes the update
  float* moment1;
  float* moment2;
  W* weight;
};

/// A slice cut into blocks, and what all of them have in common.
struct Plan {
  const UpdateSegment* segments;
  const UpdateBlock* blocks;
  const StepState* state;
  const float* ratios;  ///< null: all are 1
  std::int32_t* overflow;
  RuleNumbers rule;
  float wire_scale;
  bool packed;  ///< the arrays start on 16 bytes
};

/// Updates elements [i, i + kCount); false where a weight is not finite in its type.
template <int kCount, class Arithmetic, class G, class W>
__device__ bool update_elements(const Arithmetic& arithmetic, const Arrays<G, W>& arrays, std::int64_t i) {
  const auto gradient = load_floats<kCount>(arrays.gradient + i);
  auto weight = arrays.master != nullptr ? load_floats<kCount>(arrays.master + i) : load_floats<kCount>(arrays.weight + i);
  [[maybe_unused]] Floats<kCount> moment1, moment2;
  if constexpr (Arithmetic::kMoments > 0) moment1 = load_floats<kCount>(arrays.moment1 + i);
  if constexpr (Arithmetic::kMoments > 1) moment2 = load_floats<kCount>(arrays.moment2 + i);
  bool finite = true;
  for (int k = 0; k < kCount; ++k) {
    if constexpr (Arithmetic::kMoments == 0) weight[k] = arithmetic(gradient[k], weight[k]);
    if constexpr (Arithmetic::kMoments == 1) weight[k] = arithmetic(gradient[k], weight[k], moment1[k]);
    if constexpr (Arithmetic::kMoments == 2) weight[k] = arithmetic(gradient[k], weight[k], moment1[k], moment2[k]);
    finite = finite && fabsf(weight[k]) < overflow_limit(kElementDType<W>);
  }
  if constexpr (Arithmetic::kMoments > 0) store_floats(arrays.moment1 + i, moment1);
  if constexpr (Arithmetic::kMoments > 1) store_floats(arrays.moment2 + i, moment2);
  if (arrays.master != nullptr) store_floats(arrays.master + i, weight);
  store_floats(arrays.weight + i, weight);
  return finite;
}

/// A block of threads updates one block of the plan.
template <class Arithmetic, class G, class W>
__global__ void __launch_bounds__(kThreads) apply_update(Plan plan, Arrays<G, W> arrays) {
  constexpr int kCount = std::max(kPack<G>, kPack<W>);
  __shared__ UpdateConstants constants[1];
  if (plan.state->last_applied == 0) return;
  const UpdateBlock block = plan.blocks[blockIdx.x];
  const UpdateSegment segment = plan.segments[block.segment];
  if (threadIdx.x == 0) {
    const float ratio = plan.ratios != nullptr ? plan.ratios[segment.parameter] : 1.0F;
    constants[0] = constants_of(plan.rule, segment, *plan.state, plan.wire_scale, ratio);
  }
  __syncthreads();
  const Arithmetic arithmetic(constants[0]);
  const bool packed = plan.packed && block.begin % kCount == 0;
  const std::int64_t singles = packed ? block.end - (block.end - block.begin) % kCount : block.begin;
  for (std::int64_t i = block.begin + threadIdx.x * kCount; i < singles; i += kThreads * kCount) {
    if (!update_elements<kCount>(arithmetic, arrays, i)) atomicMin(plan.overflow, segment.parameter);
  }
  for (std::int64_t i = singles + threadIdx.x; i < block.end; i += kThreads) {
    if (!update_elements<1>(arithmetic, arrays, i)) atomicMin(plan.overflow, segment.parameter);
  }
}

template <class Arithmetic, class G, class W>
std::function<void(Stream&)> make_typed(Backend& backend, const ApplyUpdate& args) {
  const auto optional = [](const TensorView& view) { return view.present() ? device_pointer<float>(view) : nullptr; };
  const Arrays<G, W> arrays{.gradient = device_pointer<G>(args.gradient),
                            .master = optional(args.master),
                            .moment1 = optional(args.moment1),
                            .moment2 = optional(args.moment2),
                            .weight = device_pointer<W>(args.weight)};
  const DeviceArray<UpdateSegment> segments(backend, args.segments);
  const std::vector<UpdateBlock> cuts = cut(args.segments, kBlockElements);
  const DeviceArray<UpdateBlock> blocks(backend, cuts);
  const Plan plan{.segments = segments.pointer(),
                  .blocks = blocks.pointer(),
                  .state = static_cast<const StepState*>(args.state.raw()),
                  .ratios = args.ratios.present() ? device_pointer<float>(args.ratios) : nullptr,
                  .overflow = device_pointer<std::int32_t>(args.overflow),
                  .rule = numbers_of(args.rule),
                  .wire_scale = wire_scale(args.wire_exponent),
                  .packed = is_aligned(arrays.gradient) && is_aligned(arrays.master) && is_aligned(arrays.moment1) &&
                            is_aligned(arrays.moment2) && is_aligned(arrays.weight)};
  const LaunchShape shape{.blocks = static_cast<std::int64_t>(cuts.size()), .threads = kThreads};
  return [segments, blocks, plan, arrays, shape](Stream& stream) {
    launch<apply_update<Arithmetic, G, W>>(stream, shape, plan, arrays);
  };
}

/// Gradients are of the weights' type, or FP32 sums.
template <class Arithmetic>
std::function<void(Stream&)> make_with(Backend& backend, const ApplyUpdate& args) {
  return dispatch_element(args.weight.dtype(), [&](auto element) {
    using W = decltype(element);
    if (args.gradient.dtype() == DType::fp32) return make_typed<Arithmetic, float, W>(backend, args);
    return make_typed<Arithmetic, W, W>(backend, args);
  });
}

std::function<void(Stream&)> make(Backend& backend, const ApplyUpdate& args) {
  check(args);
  return dispatch_arithmetic(numbers_of(args.rule).form,
                             [&](auto arithmetic) { return make_with<typename decltype(arithmetic)::type>(backend, args); });
}

}  // namespace apply_update_kernels

void add_apply_update_kernel(Backend& backend) {
  backend.add_kernel<ApplyUpdate>(
      cuda_kernel<ApplyUpdate>([&backend](const ApplyUpdate& args) { return apply_update_kernels::make(backend, args); }), kSet);
}

}  // namespace minim::cuda
