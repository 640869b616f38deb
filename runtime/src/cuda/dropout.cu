#include <cmath>

#include "cuda/cuda_kernel.h"
#include "cuda/element.cuh"
#include "cuda/kernels.h"
#include "cuda/launch.h"
#include "minim/runtime/kernels/elementwise.h"
#include "minim/runtime/philox.h"

namespace minim::cuda {
namespace dropout_kernels {

/// What the kernels need of a RandomKey and a rate.
struct Drop {
  const std::int64_t* attempted_step;
  const std::int64_t* sample_ids;
  std::uint32_t key_low, key_high;
  float threshold;  // a word w draws w >> 8 of 2^24, so it is kept where that is at least rate 2^24, rounded up
  float factor;     // of what is kept
};

/// Elements that one call of `philox` draws for.
inline constexpr int kDraws = 4;

/// The random words of elements 4 * block to 4 * block + 3 of a sample.
__device__ inline std::array<std::uint32_t, 4> draw(const Drop& drop, std::int64_t sample, std::int64_t block) {
  const auto step = static_cast<std::uint64_t>(*drop.attempted_step);
  const auto id = static_cast<std::uint64_t>(drop.sample_ids[sample]);
  return philox({static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(step), static_cast<std::uint32_t>(id),
                 static_cast<std::uint32_t>(id >> 32U)},
                {drop.key_low, drop.key_high});
}

template <class T>
__device__ T keep_or_drop(const Drop& drop, std::uint32_t word, T x) {
  return static_cast<float>(word >> 8U) >= drop.threshold ? round_to<T>(to_float(x) * drop.factor) : T{};
}

/// A thread takes kCount elements, a multiple of kDraws, that lie in one sample: there are `packs` of them in each.
template <class T, int kCount>
__global__ void drop_packs(Drop drop, std::int64_t samples, std::int64_t packs, const T* from, T* to) {
  for (std::int64_t i = grid_thread(); i < samples * packs; i += grid_threads()) {
    const std::int64_t sample = i / packs, first = i % packs * kCount;
    Pack<T, kCount> pack = load_pack<kCount>(from + i * kCount);
    for (int k = 0; k < kCount; k += kDraws) {
      const auto words = draw(drop, sample, (first + k) / kDraws);
      for (int w = 0; w < kDraws; ++w) pack.values[k + w] = keep_or_drop(drop, words[w], pack.values[k + w]);
    }
    store_pack(to + i * kCount, pack);
  }
}

/// A thread takes kDraws elements of a sample of `size`, or what there is of them.
template <class T>
__global__ void drop_singles(Drop drop, std::int64_t samples, std::int64_t size, const T* from, T* to) {
  const std::int64_t blocks = (size + kDraws - 1) / kDraws;
  for (std::int64_t i = grid_thread(); i < samples * blocks; i += grid_threads()) {
    const std::int64_t sample = i / blocks, block = i % blocks;
    const auto words = draw(drop, sample, block);
    const std::int64_t first = sample * size + block * kDraws;
    const std::int64_t count = size - block * kDraws < kDraws ? size - block * kDraws : kDraws;
    for (std::int64_t w = 0; w < count; ++w) to[first + w] = keep_or_drop(drop, words[w], from[first + w]);
  }
}

static Drop drop_of(double rate, const RandomKey& key) {
  return {.attempted_step = device_pointer<std::int64_t>(key.attempted_step),
          .sample_ids = device_pointer<std::int64_t>(key.sample_ids),
          .key_low = static_cast<std::uint32_t>(key.seed) ^ key.operation,
          .key_high = static_cast<std::uint32_t>(key.seed >> 32U),
          .threshold = static_cast<float>(std::ceil(rate * 0x1p24)),
          .factor = static_cast<float>(1 / (1 - rate))};
}

template <class T>
std::function<void(Stream&)> make_typed(const ConstTensorView& x, const TensorView& y, const Drop& drop) {
  constexpr int kCount = kPack<T>;
  static_assert(kCount % kDraws == 0);
  const T* from = device_pointer<T>(x);
  T* to = device_pointer<T>(y);
  const std::int64_t samples = x.shape()[0], size = x.shape().elements_per_sample();
  if (size % kCount == 0 && is_aligned(from) && is_aligned(to)) {
    const std::int64_t packs = size / kCount;
    return [=](Stream& stream) {
      launch<drop_packs<T, kCount>>(stream, shape_for(samples * packs), drop, samples, packs, from, to);
    };
  }
  const LaunchShape shape = shape_for(samples * ((size + kDraws - 1) / kDraws));
  return [=](Stream& stream) { launch<drop_singles<T>>(stream, shape, drop, samples, size, from, to); };
}

std::function<void(Stream&)> make_dropout(const ConstTensorView& x, const TensorView& y, double rate, const RandomKey& key) {
  const Drop drop = drop_of(rate, key);
  return dispatch_element(x.dtype(), [&](auto element) { return make_typed<decltype(element)>(x, y, drop); });
}

std::function<void(Stream&)> make_forward(const DropoutForward& args) {
  return make_dropout(args.x, args.y, args.rate, args.random);
}

std::function<void(Stream&)> make_backward(const DropoutBackward& args) {
  return make_dropout(args.dy, args.dx, args.rate, args.random);
}

}  // namespace dropout_kernels

void add_dropout_kernels(Backend& backend) {
  backend.add_kernel<DropoutForward>(cuda_kernel<DropoutForward>(dropout_kernels::make_forward), kSet);
  backend.add_kernel<DropoutBackward>(cuda_kernel<DropoutBackward>(dropout_kernels::make_backward), kSet);
}

}  // namespace minim::cuda
