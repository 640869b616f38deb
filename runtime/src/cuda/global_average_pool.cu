#include "cuda/cuda_kernel.h"
#include "cuda/element.cuh"
#include "cuda/kernels.h"
#include "cuda/launch.h"
#include "cuda/tile.h"
#include "minim/runtime/kernels/pooling.h"

namespace minim::cuda {
namespace global_average_pool_kernels {

/// Images [N, positions, channels]. A block takes the channels of `lanes` packs of one sample, a chunk; its threads lie in rows
/// of `lanes`, and the rows take positions in turn.
struct Images {
  std::int64_t positions, channels, chunks;
  int lanes;
};

/// What a block's thread is to do.
struct Place {
  std::int64_t sample, channel;
  int row, rows;
};

template <int kCount>
__device__ Place place_in(const Images& images, std::int64_t block) {
  const int lane = static_cast<int>(threadIdx.x) % images.lanes;
  return {.sample = block / images.chunks,
          .channel = (block % images.chunks * images.lanes + lane) * kCount,
          .row = static_cast<int>(threadIdx.x) / images.lanes,
          .rows = kThreads / images.lanes};
}

/// Positions that a thread sums in FP32 before it adds them to an FP64 total, so that large images lose nothing.
inline constexpr std::int64_t kRun = 256;

template <class T, int kCount>
__device__ void sum_positions(const Images& images, const Place& place, const T* x, double* totals) {
  const T* source = x + place.sample * images.positions * images.channels + place.channel;
  const std::int64_t run = kRun * place.rows;
  for (std::int64_t begin = place.row; begin < images.positions; begin += run) {
    const std::int64_t end = begin + run < images.positions ? begin + run : images.positions;
    float sums[kCount] = {};
    for (std::int64_t p = begin; p < end; p += place.rows) {
      const Pack<T, kCount> pack = load_pack<kCount>(source + p * images.channels);
      for (int k = 0; k < kCount; ++k) sums[k] += to_float(pack.values[k]);
    }
    for (int k = 0; k < kCount; ++k) totals[k] += static_cast<double>(sums[k]);
  }
}

template <class T, int kCount>
__global__ void __launch_bounds__(kThreads) average_positions(Images images, const T* x, T* y) {
  __shared__ double of_row[kThreads * kCount];
  const Place place = place_in<kCount>(images, blockIdx.x);
  const bool inside = place.channel < images.channels;
  double totals[kCount] = {};
  if (inside) sum_positions<T, kCount>(images, place, x, totals);
  for (int k = 0; k < kCount; ++k) of_row[k * kThreads + static_cast<int>(threadIdx.x)] = totals[k];
  __syncthreads();
  if (!inside || place.row != 0) return;
  Pack<T, kCount> means;
  for (int k = 0; k < kCount; ++k) {
    double total = 0;
    for (int row = 0; row < place.rows; ++row) total += of_row[k * kThreads + row * images.lanes + static_cast<int>(threadIdx.x)];
    means.values[k] = round_to<T>(static_cast<float>(total / static_cast<double>(images.positions)));
  }
  store_pack(y + place.sample * images.channels + place.channel, means);
}

/// The positions of a chunk are divided among `splits` blocks.
template <class T, int kCount>
__global__ void __launch_bounds__(kThreads)
    spread_over_positions(Images images, std::int64_t splits, float factor, const T* dy, T* dx) {
  const Place place = place_in<kCount>(images, blockIdx.x / splits);
  if (place.channel >= images.channels) return;
  Pack<T, kCount> pack = load_pack<kCount>(dy + place.sample * images.channels + place.channel);
  for (int k = 0; k < kCount; ++k) pack.values[k] = round_to<T>(to_float(pack.values[k]) * factor);
  T* destination = dx + place.sample * images.positions * images.channels + place.channel;
  const std::int64_t first = blockIdx.x % splits * place.rows + place.row;
  for (std::int64_t p = first; p < images.positions; p += splits * place.rows) {
    store_pack(destination + p * images.channels, pack);
  }
}

template <int kCount>
Images images_of(const Shape& x) {
  const std::int64_t packs = x[3] / kCount;
  const int lanes = lanes_for(packs, 32);
  return {.positions = x[1] * x[2], .channels = x[3], .chunks = (packs + lanes - 1) / lanes, .lanes = lanes};
}

template <class T, int kCount>
std::function<void(Stream&)> make_typed_forward(const GlobalAveragePoolForward& args) {
  const Images images = images_of<kCount>(args.x.shape());
  const LaunchShape shape{.blocks = args.x.shape()[0] * images.chunks, .threads = kThreads};
  const T* x = device_pointer<T>(args.x);
  T* y = device_pointer<T>(args.y);
  return [=](Stream& stream) { launch<average_positions<T, kCount>>(stream, shape, images, x, y); };
}

template <class T, int kCount>
std::function<void(Stream&)> make_typed_backward(const GlobalAveragePoolBackward& args) {
  constexpr std::int64_t kPositionsPerThread = 8;  // at least, where there are as many
  const Images images = images_of<kCount>(args.dx.shape());
  const std::int64_t per_block = kThreads / images.lanes * kPositionsPerThread;
  const std::int64_t splits = (images.positions + per_block - 1) / per_block;
  const LaunchShape shape{.blocks = args.dx.shape()[0] * images.chunks * splits, .threads = kThreads};
  const auto factor = static_cast<float>(1 / static_cast<double>(images.positions));
  const T* dy = device_pointer<T>(args.dy);
  T* dx = device_pointer<T>(args.dx);
  return [=](Stream& stream) { launch<spread_over_positions<T, kCount>>(stream, shape, images, splits, factor, dy, dx); };
}

/// Whether rows of so many channels are made of packs that begin at the addresses.
template <class T>
bool in_packs(std::int64_t channels, const ConstTensorView& a, const ConstTensorView& b) {
  return channels % kPack<T> == 0 && is_aligned(a.raw()) && is_aligned(b.raw());
}

std::function<void(Stream&)> make_forward(const GlobalAveragePoolForward& args) {
  return dispatch_element(args.x.dtype(), [&](auto element) {
    using T = decltype(element);
    const bool packs = in_packs<T>(args.x.shape()[3], args.x, args.y);
    return packs ? make_typed_forward<T, kPack<T>>(args) : make_typed_forward<T, 1>(args);
  });
}

std::function<void(Stream&)> make_backward(const GlobalAveragePoolBackward& args) {
  return dispatch_element(args.dx.dtype(), [&](auto element) {
    using T = decltype(element);
    const bool packs = in_packs<T>(args.dx.shape()[3], args.dy, args.dx);
    return packs ? make_typed_backward<T, kPack<T>>(args) : make_typed_backward<T, 1>(args);
  });
}

}  // namespace global_average_pool_kernels

void add_global_average_pool_kernels(Backend& backend) {
  backend.add_kernel<GlobalAveragePoolForward>(cuda_kernel<GlobalAveragePoolForward>(global_average_pool_kernels::make_forward),
                                               kSet);
  backend.add_kernel<GlobalAveragePoolBackward>(
      cuda_kernel<GlobalAveragePoolBackward>(global_average_pool_kernels::make_backward), kSet);
}

}  // namespace minim::cuda
