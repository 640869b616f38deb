#include "nccl/sum_ranks.h"

#include "cuda/floats.cuh"
#include "cuda/launch.h"

namespace minim::cuda {
namespace sum_ranks_kernels {

/// A thread adds `kCount` neighbouring elements at a time.
template <class T, int kCount>
__global__ void sum_ranks(std::int64_t elements, const T* own, const T* others, int rank, int ranks, float* sums) {
  for (std::int64_t i = grid_thread() * kCount; i < elements; i += grid_threads() * kCount) {
    Floats<kCount> sum = load_floats<kCount>((rank == 0 ? own : others) + i);
    for (int r = 1; r < ranks; ++r) sum += load_floats<kCount>((r == rank ? own : others + r * elements) + i);
    store_floats(sums + i, sum);
  }
}

}  // namespace sum_ranks_kernels
}  // namespace minim::cuda

namespace minim::nccl {

void sum_ranks(Stream& stream, const Contributions& from, const TensorView& sums) {
  const std::int64_t elements = sums.elements();
  float* const to = sums.data<float>();
  const bool packed = cuda::fits_packs(from.dtype, elements, from.own, from.others) && cuda::is_aligned(to);
  cuda::dispatch_packs(from.dtype, packed, [&](auto element, auto width) {
    using T = decltype(element);
    constexpr int kCount = decltype(width)::value;
    cuda::launch<cuda::sum_ranks_kernels::sum_ranks<T, kCount>>(stream, cuda::shape_for(elements / kCount), elements,
                                                                static_cast<const T*>(from.own),
                                                                static_cast<const T*>(from.others), from.rank, from.ranks, to);
  });
}

}  // namespace minim::nccl
