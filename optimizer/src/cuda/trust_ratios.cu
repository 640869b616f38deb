#include <type_traits>

#include "cuda/add_nodes.cuh"
#include "cuda/cuda_kernel.h"
#include "cuda/device_array.h"
#include "cuda/element.cuh"
#include "cuda/kernels.h"
#include "cuda/launch.h"
#include "cuda/optimizer_kernels.h"
#include "trust_kernels.h"
#include "update_plan.h"

namespace minim::cuda {
namespace trust_kernels {

using Lane = float;
MINIM_HOST_DEVICE inline Lane splat(float value) { return value; }
MINIM_HOST_DEVICE inline Lane square_root(Lane x) { return sqrtf(x); }
#include "update_arithmetic-inl.h"

/// Blocks of the sum tree that a block of threads takes, a thread for each lane.
inline constexpr int kBlocks = kThreads / kSumLanes;

/// The arrays of a slice: gradients G, weights W.
template <class G, class W>
struct Arrays {
  const G* gradient;
  const float* master;  ///< null: the weight itself takes the update
  const W* weight;
  const float* moment1;
  const float* moment2;
};

/// The blocks of a slice, segment by segment, and the sums of their squares.
struct Plan {
  const UpdateSegment* segments;
  const UpdateBlock* blocks;
  std::int64_t block_count;
  const std::int64_t* segment_begins;  ///< those of segment s are [segment_begins[s], segment_begins[s + 1])
  double* weights;
  double* updates;
  const StepState* state;
  ParameterSquares* squares;
  RuleNumbers rule;
  float wire_scale;
};

template <class Arithmetic, class G, class W>
__device__ float measured(const Arithmetic& arithmetic, const Arrays<G, W>& arrays, float weight, std::int64_t i) {
  const float gradient = to_float(arrays.gradient[i]);
  if constexpr (Arithmetic::kMeasuresMoments) {
    return arithmetic.measured(gradient, weight, arrays.moment1[i], arrays.moment2[i]);
  } else {
    return arithmetic.measured(gradient, weight);
  }
}

/// Sums of squares of all blocks.
template <class Arithmetic, class G, class W>
__global__ void __launch_bounds__(kThreads) measure_blocks(Plan plan, Arrays<G, W> arrays) {
  __shared__ UpdateConstants constants[kBlocks];
  __shared__ double weights[kThreads], updates[kThreads];
  if (plan.state->last_applied == 0) return;
  const auto lane = static_cast<int>(threadIdx.x) % kSumLanes;
  const int row = static_cast<int>(threadIdx.x) / kSumLanes;
  const std::int64_t b = static_cast<std::int64_t>(blockIdx.x) * kBlocks + row;
  const UpdateBlock block = b < plan.block_count ? plan.blocks[b] : UpdateBlock{};
  if (lane == 0) constants[row] = constants_of(plan.rule, plan.segments[block.segment], *plan.state, plan.wire_scale, 1);
  __syncthreads();
  const Arithmetic arithmetic(constants[row]);
  double weight_sum = 0, update_sum = 0;
  for (std::int64_t i = block.begin + lane; i < block.end; i += kSumLanes) {
    const float w = arrays.master != nullptr ? arrays.master[i] : to_float(arrays.weight[i]);
    const float u = measured(arithmetic, arrays, w, i);
    weight_sum += static_cast<double>(w) * static_cast<double>(w);
    update_sum += static_cast<double>(u) * static_cast<double>(u);
  }
  weights[threadIdx.x] = weight_sum;
  updates[threadIdx.x] = update_sum;
  __syncthreads();
  if (lane != 0 || b >= plan.block_count) return;
  plan.weights[b] = add_lanes(weights + threadIdx.x);
  plan.updates[b] = add_lanes(updates + threadIdx.x);
}

/// Two blocks of threads for each segment: one adds up the squares of its weights, one those of its update.
__global__ void __launch_bounds__(kThreads) add_segments(Plan plan) {
  __shared__ double nodes[kThreads];
  if (plan.state->last_applied == 0) return;
  const unsigned segment = blockIdx.x / 2;
  const bool of_weights = blockIdx.x % 2 == 0;
  const std::int64_t begin = plan.segment_begins[segment];
  add_nodes((of_weights ? plan.weights : plan.updates) + begin, plan.segment_begins[segment + 1] - begin, nodes);
  if (threadIdx.x != 0) return;
  ParameterSquares& squares = plan.squares[plan.segments[segment].parameter];
  (of_weights ? squares.weight : squares.update) = nodes[0];
}

/// A thread for each parameter.
__global__ void __launch_bounds__(kThreads)
    fold_squares(RuleNumbers rule, const TrustParameter* parameters, const ParameterSquares* squares, std::int64_t count,
                 std::int64_t ranks, float* ratios) {
  const std::int64_t p = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (p < count) ratios[p] = trust_ratio(rule, parameters[p], squares + p, count, ranks);
}

/// Where the blocks of each segment begin, and where the last ends.
std::vector<std::int64_t> begins_of(const std::vector<UpdateBlock>& blocks, std::size_t segments) {
  std::vector<std::int64_t> begins(segments + 1);
  for (const UpdateBlock& block : blocks) ++begins[static_cast<std::size_t>(block.segment) + 1];
  for (std::size_t s = 0; s < segments; ++s) begins[s + 1] += begins[s];
  return begins;
}

template <class Arithmetic, class G, class W>
std::function<void(Stream&)> make_typed(Backend& backend, const MeasureUpdate& args) {
  const auto optional = [](const ConstTensorView& view) { return view.present() ? device_pointer<float>(view) : nullptr; };
  const Arrays<G, W> arrays{.gradient = device_pointer<G>(args.gradient),
                            .master = optional(args.master),
                            .weight = device_pointer<W>(args.weight),
                            .moment1 = optional(args.moment1),
                            .moment2 = optional(args.moment2)};
  const std::vector<UpdateBlock> cuts = cut(args.segments, kCheckBlock);
  const DeviceArray<UpdateSegment> segments(backend, args.segments);
  const DeviceArray<UpdateBlock> blocks(backend, cuts);
  const DeviceArray<std::int64_t> begins(backend, begins_of(cuts, args.segments.size()));
  const auto count = static_cast<std::int64_t>(cuts.size());
  const DeviceArray<double> weights(backend, count), updates(backend, count);
  const Plan plan{.segments = segments.pointer(),
                  .blocks = blocks.pointer(),
                  .block_count = count,
                  .segment_begins = begins.pointer(),
                  .weights = weights.pointer(),
                  .updates = updates.pointer(),
                  .state = static_cast<const StepState*>(args.state.raw()),
                  .squares = static_cast<ParameterSquares*>(args.squares.raw()),
                  .rule = numbers_of(args.rule),
                  .wire_scale = wire_scale(args.wire_exponent)};
  const LaunchShape of_blocks{.blocks = (count + kBlocks - 1) / kBlocks, .threads = kThreads};
  const LaunchShape of_segments{.blocks = 2 * static_cast<std::int64_t>(args.segments.size()), .threads = kThreads};
  return [segments, blocks, begins, weights, updates, plan, arrays, of_blocks, of_segments](Stream& stream) {
    launch<measure_blocks<Arithmetic, G, W>>(stream, of_blocks, plan, arrays);
    launch<add_segments>(stream, of_segments, plan);
  };
}

std::function<void(Stream&)> make_measure(Backend& backend, const MeasureUpdate& args) {
  check(args);
  return dispatch_trust_arithmetic(numbers_of(args.rule).form, [&](auto arithmetic) {
    using Arithmetic = typename decltype(arithmetic)::type;
    return dispatch_element(args.weight.dtype(), [&](auto element) {
      using W = decltype(element);
      if (args.gradient.dtype() == DType::fp32) return make_typed<Arithmetic, float, W>(backend, args);
      return make_typed<Arithmetic, W, W>(backend, args);
    });
  });
}

std::function<void(Stream&)> make_fold(Backend& backend, const FoldSquares& args) {
  const DeviceArray<TrustParameter> parameters(backend, args.parameters);
  const auto count = static_cast<std::int64_t>(args.parameters.size());
  const std::int64_t ranks = args.squares.size_bytes() / (count * static_cast<std::int64_t>(sizeof(ParameterSquares)));
  const auto* const squares = static_cast<const ParameterSquares*>(args.squares.raw());
  auto* const ratios = device_pointer<float>(args.ratios);
  const LaunchShape shape{.blocks = (count + kThreads - 1) / kThreads, .threads = kThreads};
  return [rule = numbers_of(args.rule), parameters, squares, count, ranks, ratios, shape](Stream& stream) {
    launch<fold_squares>(stream, shape, rule, parameters.pointer(), squares, count, ranks, ratios);
  };
}

}  // namespace trust_kernels

void add_trust_ratio_kernels(Backend& backend) {
  backend.add_kernel<MeasureUpdate>(
      cuda_kernel<MeasureUpdate>([&backend](const MeasureUpdate& args) { return trust_kernels::make_measure(backend, args); }),
      kSet);
  backend.add_kernel<FoldSquares>(
      cuda_kernel<FoldSquares>([&backend](const FoldSquares& args) { return trust_kernels::make_fold(backend, args); }), kSet);
}

}  // namespace minim::cuda
