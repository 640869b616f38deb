#pragma once

#include "cuda/launch.h"
#include "sum_tree.h"

namespace minim::cuda {

/// `add_pairwise` by all threads of a block, each a node of the tree. The sum is in nodes[0], for thread 0; `nodes` is shared
/// memory of kThreads numbers.
__device__ inline void add_nodes(const double* values, std::int64_t count, double* nodes) {
  constexpr int kDepth = 8;
  static_assert(1 << kDepth == kThreads);
  const SumNode node = sum_node(count, kDepth, threadIdx.x);
  nodes[threadIdx.x] = add_pairwise(values + node.begin, node.count);
  for (unsigned width = kThreads / 2; width > 0; width /= 2) {
    __syncthreads();
    const double sum = threadIdx.x < width ? nodes[2 * threadIdx.x] + nodes[2 * threadIdx.x + 1] : 0;
    __syncthreads();
    if (threadIdx.x < width) nodes[threadIdx.x] = sum;
  }
}

}  // namespace minim::cuda
