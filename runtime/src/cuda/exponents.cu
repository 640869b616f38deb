#include "minim/runtime/kernels/exponents.h"

#include <algorithm>

#include "cuda/cuda_kernel.h"
#include "cuda/flat.cuh"
#include "cuda/kernels.h"

namespace minim::cuda {
namespace exponents_kernels {

inline constexpr int kBins = kMantissas * kExponents;
/// Fewer blocks than usual: each adds all its bins to the counts at its end.
inline constexpr std::int64_t kMostBlocks = 1024;

/// What is counted: of a tensor with valid samples only their elements.
struct Counted {
  std::int64_t samples, per_sample;
  const std::int32_t* valid_samples;  ///< null: all
  bool is_aligned;
};

template <class T>
__device__ void count_one(unsigned* bins, T value) {
  const auto bits = static_cast<std::uint32_t>(__float_as_uint(to_float(value)));
  atomicAdd(&bins[static_cast<int>(mantissa_of(bits)) * kExponents + exponent_of(bits)], 1U);
}

/// The order of additions does not matter: they are of integers. A block counts fewer than 2^32 elements.
template <class T>
__global__ void __launch_bounds__(kThreads) count_exponents(Counted counted, const T* x, std::int64_t* counts) {
  __shared__ unsigned bins[kBins];
  for (int bin = static_cast<int>(threadIdx.x); bin < kBins; bin += kThreads) bins[bin] = 0;
  __syncthreads();
  std::int64_t samples = counted.samples;
  if (counted.valid_samples != nullptr) {
    const std::int64_t valid = *counted.valid_samples;
    samples = valid < 0 ? 0 : valid < samples ? valid : samples;
  }
  const std::int64_t elements = samples * counted.per_sample;
  const std::int64_t packs = counted.is_aligned ? elements / kPack<T> : 0;
  for (std::int64_t i = grid_thread(); i < packs; i += grid_threads()) {
    const Pack<T, kPack<T>> pack = load_pack<kPack<T>>(x + i * kPack<T>);
    for (int k = 0; k < kPack<T>; ++k) count_one(bins, pack.values[k]);
  }
  for (std::int64_t i = packs * kPack<T> + grid_thread(); i < elements; i += grid_threads()) count_one(bins, x[i]);
  __syncthreads();
  static_assert(sizeof(unsigned long long) == sizeof *counts);
  for (int bin = static_cast<int>(threadIdx.x); bin < kBins; bin += kThreads) {
    if (bins[bin] > 0) atomicAdd(reinterpret_cast<unsigned long long*>(counts + bin), static_cast<unsigned long long>(bins[bin]));
  }
}

std::function<void(Stream&)> make(const CountExponents& args) {
  return dispatch_element(args.x.dtype(), [&](auto element) -> std::function<void(Stream&)> {
    using T = decltype(element);
    const Shape& shape = args.x.shape();
    const bool has_samples = args.valid_samples.present();
    const auto* const x = device_pointer<T>(args.x);
    auto* const counts = device_pointer<std::int64_t>(args.counts);
    const Counted counted{.samples = has_samples ? shape[0] : 1,
                          .per_sample = has_samples ? shape.elements_per_sample() : shape.elements(),
                          .valid_samples = has_samples ? device_pointer<std::int32_t>(args.valid_samples) : nullptr,
                          .is_aligned = is_aligned(x)};
    const std::int64_t elements = shape.elements();
    LaunchShape grid = shape_for(counted.is_aligned ? (elements + kPack<T> - 1) / kPack<T> : elements);
    grid.blocks = std::min(grid.blocks, kMostBlocks);
    return [=](Stream& stream) { launch<count_exponents<T>>(stream, grid, counted, x, counts); };
  });
}

}  // namespace exponents_kernels

void add_exponent_kernels(Backend& backend) {
  backend.add_kernel<CountExponents>(cuda_kernel<CountExponents>(exponents_kernels::make), kSet);
}

}  // namespace minim::cuda
