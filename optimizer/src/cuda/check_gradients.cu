#include "cuda/add_nodes.cuh"
#include "cuda/cuda_kernel.h"
#include "cuda/device_array.h"
#include "cuda/element.cuh"
#include "cuda/kernels.h"
#include "cuda/launch.h"
#include "cuda/optimizer_kernels.h"
#include "update_constants.h"
#include "update_plan.h"

namespace minim::cuda {
namespace check_gradients_kernels {

/// Blocks of the sum tree that a block of threads takes, a thread for each lane.
inline constexpr int kBlocks = kThreads / kSumLanes;

/// The blocks of a slice, group by group, and the sums of their squares.
struct Plan {
  const UpdateSegment* segments;
  const UpdateBlock* blocks;
  std::int64_t block_count;
  double* sums;
  AgreementRecord* record;
};

/// Notes the non-finite values that a thread has found in a segment. The smallest index is looked for as an unsigned number: then
/// -1, which says that there is none, is the largest.
__device__ inline void record_bad(AgreementRecord* record, const UpdateSegment& segment, int count) {
  static_assert(sizeof(unsigned long long) == sizeof record->non_finite);
  atomicAdd(reinterpret_cast<unsigned long long*>(&record->non_finite), static_cast<unsigned long long>(count));
  atomicMin(reinterpret_cast<unsigned*>(&record->first_bad_parameter), static_cast<unsigned>(segment.parameter));
}

/// Sums of squares of all blocks, 0 for those that hold something non-finite, which goes to the record.
template <class G>
__global__ void __launch_bounds__(kThreads) sum_squares(Plan plan, const G* gradient) {
  __shared__ double lanes[kThreads];
  const auto lane = static_cast<int>(threadIdx.x) % kSumLanes;
  const std::int64_t b = static_cast<std::int64_t>(blockIdx.x) * kBlocks + static_cast<int>(threadIdx.x) / kSumLanes;
  const UpdateBlock block = b < plan.block_count ? plan.blocks[b] : UpdateBlock{};
  double sum = 0;
  int bad = 0;
  for (std::int64_t i = block.begin + lane; i < block.end; i += kSumLanes) {
    const float g = to_float(gradient[i]);
    sum += static_cast<double>(g) * static_cast<double>(g);
    bad += isfinite(g) ? 0 : 1;
  }
  if (bad > 0) record_bad(plan.record, plan.segments[block.segment], bad);
  lanes[threadIdx.x] = sum;
  __syncthreads();
  if (lane != 0 || b >= plan.block_count) return;
  const double total = add_lanes(lanes + threadIdx.x);
  plan.sums[b] = isfinite(total) ? total : 0;
}

/// The blocks of group g are [begins[g], begins[g + 1]).
struct Groups {
  std::int64_t begins[kMaxGroups + 1];
};

/// Adds up group blockIdx.x.
__global__ void __launch_bounds__(kThreads)
    add_groups(const double* sums, Groups groups, const StepState* state, float wire_scale, AgreementRecord* record) {
  __shared__ double nodes[kThreads];
  const std::int64_t begin = groups.begins[blockIdx.x];
  add_nodes(sums + begin, groups.begins[blockIdx.x + 1] - begin, nodes);
  if (threadIdx.x != 0) return;
  const double unscale = unscale_for_norms(*state, wire_scale);
  record->sum_squares[blockIdx.x] += nodes[0] * unscale * unscale;
}

template <class G>
std::function<void(Stream&)> make_typed(Backend& backend, const CheckGradients& args) {
  const CheckBlocks cuts = cut_by_group(args.segments);
  Groups groups;
  for (int group = 0; group <= kMaxGroups; ++group) groups.begins[group] = cuts.group_begins[group];
  const DeviceArray<UpdateSegment> segments(backend, args.segments);
  const DeviceArray<UpdateBlock> blocks(backend, cuts.blocks);
  const auto count = static_cast<std::int64_t>(cuts.blocks.size());
  const DeviceArray<double> sums(backend, count);
  const Plan plan{.segments = segments.pointer(),
                  .blocks = blocks.pointer(),
                  .block_count = count,
                  .sums = sums.pointer(),
                  .record = static_cast<AgreementRecord*>(args.record.raw())};
  const auto* const gradient = device_pointer<G>(args.gradient);
  const auto* const state = static_cast<const StepState*>(args.state.raw());
  const float scale = wire_scale(args.wire_exponent);
  const LaunchShape shape{.blocks = (count + kBlocks - 1) / kBlocks, .threads = kThreads};
  return [segments, blocks, sums, plan, gradient, groups, state, scale, shape](Stream& stream) {
    launch<sum_squares<G>>(stream, shape, plan, gradient);
    launch<add_groups>(stream, {.blocks = kMaxGroups, .threads = kThreads}, plan.sums, groups, state, scale, plan.record);
  };
}

std::function<void(Stream&)> make(Backend& backend, const CheckGradients& args) {
  check(args);
  return dispatch_element(args.gradient.dtype(), [&](auto element) { return make_typed<decltype(element)>(backend, args); });
}

}  // namespace check_gradients_kernels

void add_check_gradients_kernel(Backend& backend) {
  backend.add_kernel<CheckGradients>(cuda_kernel<CheckGradients>([&backend](const CheckGradients& args) {
                                       return check_gradients_kernels::make(backend, args);
                                     }),
                                     kSet);
}

}  // namespace minim::cuda
