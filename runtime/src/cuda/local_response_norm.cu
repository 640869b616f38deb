#include "cuda/cuda_kernel.h"
#include "cuda/element.cuh"
#include "cuda/kernels.h"
#include "cuda/launch.h"
#include "minim/runtime/kernels/local_response_norm.h"

namespace minim::cuda {
namespace local_response_norm_kernels {

/// All rows as one line of elements, of which a block takes a tile, and the window's constants.
struct Line {
  std::int64_t elements, channels;
  int half;
  float k, share, beta, factor;
};

inline constexpr int kTile = 4 * kThreads;
/// Elements that a tile is read with on each side: two halves of the widest window, in whole packs.
inline constexpr int kMargin = 32;
static_assert(kMargin >= 2 * (kMaxResponseWindow / 2) && kMargin % kPack<__half> == 0 && kTile % kPack<__half> == 0);
inline constexpr int kStaged = kTile + 2 * kMargin;

/// Elements from `begin` on become floats in shared memory; 0 where the line has none.
template <int kCount, class T>
__device__ void stage(const Line& line, std::int64_t begin, const T* from, float* to) {
  for (int i = static_cast<int>(threadIdx.x) * kCount; i < kStaged; i += kThreads * kCount) {
    const std::int64_t element = begin + i;
    const bool inside = element >= 0 && element < line.elements;
    const Pack<T, kCount> pack = inside ? load_pack<kCount>(from + element) : Pack<T, kCount>{};
    for (int k = 0; k < kCount; ++k) to[i + k] = inside ? to_float(pack.values[k]) : 0.0F;
  }
}

/// The sum of `term(i)` over the window around staged element `i`, which lies in channel `channel`.
template <class Term>
__device__ float window_sum(const Line& line, int i, std::int64_t channel, Term term) {
  const int first = channel < line.half ? static_cast<int>(channel) : line.half;
  const std::int64_t behind = line.channels - 1 - channel;
  const int last = behind < line.half ? static_cast<int>(behind) : line.half;
  float sum = 0;
  for (int k = i - first; k <= i + last; ++k) sum += term(k);
  return sum;
}

__device__ inline float norm(const Line& line, const float* x, int i, std::int64_t channel) {
  return line.k + line.share * window_sum(line, i, channel, [=](int k) { return x[k] * x[k]; });
}

template <class T, int kCount>
__global__ void __launch_bounds__(kThreads) normalize(Line line, const T* x, T* y) {
  __shared__ float values[kStaged];
  for (std::int64_t tile = blockIdx.x; tile * kTile < line.elements; tile += gridDim.x) {
    const std::int64_t begin = tile * kTile - kMargin;
    stage<kCount>(line, begin, x, values);
    __syncthreads();
    for (int i = kMargin + static_cast<int>(threadIdx.x); i < kMargin + kTile && begin + i < line.elements; i += kThreads) {
      const float s = norm(line, values, i, (begin + i) % line.channels);
      y[begin + i] = round_to<T>(values[i] * powf(s, -line.beta));
    }
    __syncthreads();
  }
}

/// First s^-beta and dy x s^(-beta - 1) of a tile and its neighbours, then the gradient.
template <class T, int kCount>
__global__ void __launch_bounds__(kThreads) normalize_backward(Line line, const T* x, const T* dy, T* dx) {
  __shared__ float values[kStaged];
  __shared__ float gradients[kStaged];
  __shared__ float powers[kStaged];
  __shared__ float terms[kStaged];
  for (std::int64_t tile = blockIdx.x; tile * kTile < line.elements; tile += gridDim.x) {
    const std::int64_t begin = tile * kTile - kMargin;
    stage<kCount>(line, begin, x, values);
    stage<kCount>(line, begin, dy, gradients);
    __syncthreads();
    for (int i = kMargin - line.half + static_cast<int>(threadIdx.x); i < kMargin + kTile + line.half; i += kThreads) {
      const std::int64_t element = begin + i;
      if (element < 0 || element >= line.elements) continue;
      const float s = norm(line, values, i, element % line.channels);
      powers[i] = powf(s, -line.beta);
      terms[i] = gradients[i] * values[i] * (powers[i] / s);
    }
    __syncthreads();
    for (int i = kMargin + static_cast<int>(threadIdx.x); i < kMargin + kTile && begin + i < line.elements; i += kThreads) {
      const float others = window_sum(line, i, (begin + i) % line.channels, [=](int k) { return terms[k]; });
      dx[begin + i] = round_to<T>(gradients[i] * powers[i] - line.factor * (values[i] * others));
    }
    __syncthreads();
  }
}

Line line_of(const ConstTensorView& x, const ResponseWindow& window) {
  const double share = window.alpha / static_cast<double>(window.size);
  return {.elements = x.elements(),
          .channels = x.shape()[-1],
          .half = static_cast<int>(window.size / 2),
          .k = static_cast<float>(window.k),
          .share = static_cast<float>(share),
          .beta = static_cast<float>(window.beta),
          .factor = static_cast<float>(2 * share * window.beta)};
}

LaunchShape shape_for(const Line& line) {
  const std::int64_t tiles = (line.elements + kTile - 1) / kTile;
  return {.blocks = tiles < kMaxBlocks ? tiles : kMaxBlocks, .threads = kThreads};
}

/// Calls `f(T{}, width)` with how many elements are loaded at once.
template <class F>
std::function<void(Stream&)> dispatch_loads(const ConstTensorView& x, bool aligned, const F& f) {
  return dispatch_element(x.dtype(), [&](auto element) {
    constexpr int kCount = kPack<decltype(element)>;
    if (aligned && x.elements() % kCount == 0) return f(element, std::integral_constant<int, kCount>{});
    return f(element, std::integral_constant<int, 1>{});
  });
}

std::function<void(Stream&)> make_forward(const LocalResponseNormForward& args) {
  const Line line = line_of(args.x, args.window);
  return dispatch_loads(args.x, is_aligned(args.x.raw()), [&](auto element, auto count) -> std::function<void(Stream&)> {
    using T = decltype(element);
    return [=, x = device_pointer<T>(args.x), y = device_pointer<T>(args.y)](Stream& stream) {
      launch<normalize<T, count>>(stream, shape_for(line), line, x, y);
    };
  });
}

std::function<void(Stream&)> make_backward(const LocalResponseNormBackward& args) {
  const Line line = line_of(args.x, args.window);
  const bool aligned = is_aligned(args.x.raw()) && is_aligned(args.dy.raw());
  return dispatch_loads(args.x, aligned, [&](auto element, auto count) -> std::function<void(Stream&)> {
    using T = decltype(element);
    return [=, x = device_pointer<T>(args.x), dy = device_pointer<T>(args.dy), dx = device_pointer<T>(args.dx)](Stream& stream) {
      launch<normalize_backward<T, count>>(stream, shape_for(line), line, x, dy, dx);
    };
  });
}

}  // namespace local_response_norm_kernels

void add_local_response_norm_kernels(Backend& backend) {
  namespace own = local_response_norm_kernels;
  backend.add_kernel<LocalResponseNormForward>(cuda_kernel<LocalResponseNormForward>(own::make_forward), kSet);
  backend.add_kernel<LocalResponseNormBackward>(cuda_kernel<LocalResponseNormBackward>(own::make_backward), kSet);
}

}  // namespace minim::cuda
