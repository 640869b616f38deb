#include <string>

#include "cuda/cuda_kernel.h"
#include "cuda/flat.cuh"
#include "cuda/kernels.h"
#include "minim/runtime/kernels/elementwise.h"

namespace minim::cuda {
namespace sum_kernels {

/// The first `count` are arrays to be added. They travel with the launch, hence two capacities.
template <class T, int kCapacity>
struct Sources {
  const T* arrays[kCapacity];
  int count;
};

inline constexpr int kFewSources = 8;
inline constexpr int kManySources = 256;

template <class T, int kCapacity>
__device__ float sum_at(const Sources<T, kCapacity>& sources, std::int64_t i) {
  float sum = to_float(sources.arrays[0][i]);
  for (int s = 1; s < kCapacity && s < sources.count; ++s) sum += to_float(sources.arrays[s][i]);
  return sum;
}

/// `mask` may be null.
template <class T, int kCapacity>
__global__ void sum(FlatLoop loop, Sources<T, kCapacity> sources, const T* mask, T* y) {
  constexpr int kCount = kPack<T>;
  for (std::int64_t i = grid_thread(); i < loop.packs; i += grid_threads()) {
    float sums[kCount];
    Pack<T, kCount> pack = load_pack<kCount>(sources.arrays[0] + i * kCount);
    for (int k = 0; k < kCount; ++k) sums[k] = to_float(pack.values[k]);
    for (int s = 1; s < kCapacity && s < sources.count; ++s) {
      pack = load_pack<kCount>(sources.arrays[s] + i * kCount);
      for (int k = 0; k < kCount; ++k) sums[k] += to_float(pack.values[k]);
    }
    if (mask != nullptr) {
      pack = load_pack<kCount>(mask + i * kCount);
      for (int k = 0; k < kCount; ++k) sums[k] = to_float(pack.values[k]) > 0 ? sums[k] : 0;
    }
    for (int k = 0; k < kCount; ++k) pack.values[k] = round_to<T>(sums[k]);
    store_pack(y + i * kCount, pack);
  }
  for (std::int64_t i = loop.packs * kCount + grid_thread(); i < loop.elements; i += grid_threads()) {
    y[i] = round_to<T>(mask == nullptr || to_float(mask[i]) > 0 ? sum_at(sources, i) : 0);
  }
}

template <class T, int kCapacity>
std::function<void(Stream&)> make_typed(const Sum& args) {
  constexpr int kCount = kPack<T>;
  T* y = device_pointer<T>(args.y);
  const T* mask = args.mask.present() ? device_pointer<T>(args.mask) : nullptr;
  Sources<T, kCapacity> sources{.count = static_cast<int>(args.inputs.size())};
  FlatLoop loop = flat_loop<kCount>(args.y.elements(), y);
  for (std::size_t s = 0; s < args.inputs.size(); ++s) {
    sources.arrays[s] = device_pointer<T>(args.inputs[s]);
    if (!is_aligned(sources.arrays[s])) loop.packs = 0;
  }
  if (!is_aligned(mask)) loop.packs = 0;
  return [=](Stream& stream) { launch<sum<T, kCapacity>>(stream, shape_for<kCount>(loop), loop, sources, mask, y); };
}

std::function<void(Stream&)> make_sum(const Sum& args) {
  if (args.inputs.empty() || args.inputs.size() > kManySources) {
    throw InvalidArgument("a sum of " + std::to_string(args.inputs.size()) + " tensors on a CUDA device: 1 to " +
                          std::to_string(kManySources) + " are wanted");
  }
  return dispatch_element(args.y.dtype(), [&](auto element) {
    using T = decltype(element);
    return args.inputs.size() <= kFewSources ? make_typed<T, kFewSources>(args) : make_typed<T, kManySources>(args);
  });
}

}  // namespace sum_kernels

void add_sum_kernels(Backend& backend) { backend.add_kernel<Sum>(cuda_kernel<Sum>(sum_kernels::make_sum), kSet); }

}  // namespace minim::cuda
