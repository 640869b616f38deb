#include "minim/runtime/kernels/layer_norm.h"

#include "cuda/block.cuh"
#include "cuda/channel_tiles.cuh"
#include "cuda/cuda_kernel.h"
#include "cuda/kernels.h"

// In front of a loop, for nvcc.
#ifdef __CUDACC__
#define MINIM_DO_NOT_UNROLL _Pragma("unroll 1")
#else
#define MINIM_DO_NOT_UNROLL
#endif

namespace minim::cuda {
namespace layer_norm_kernels {

/// Rows that a block of threads takes at once: each is a warp's.
inline constexpr int kBlockRows = kThreads / kWarpThreads;

struct Rows {
  std::int64_t count, channels;

  LaunchShape shape() const { return shape_for(count * kWarpThreads); }
};

/// Calls `row(r)` for the rows of a warp, all 32 threads for the same.
template <class Row>
__device__ void for_warp_rows(const Rows& rows, Row row) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * kBlockRows;
  for (std::int64_t r = static_cast<std::int64_t>(blockIdx.x) * kBlockRows + threadIdx.x / kWarpThreads; r < rows.count;
       r += step) {
    row(r);
  }
}

/// Calls `use(c)` for the first channel of each pack of a row that is the thread's. Unrolled, it would spill registers.
template <int kWidth, class Use>
__device__ void for_packs(const Rows& rows, Use use) {
  MINIM_DO_NOT_UNROLL
  for (std::int64_t c = threadIdx.x % kWarpThreads * kWidth; c < rows.channels; c += kWarpThreads * kWidth) use(c);
}

/// In two passes, so that a mean far from 0 does not cancel the variance.
template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads)
    normalize_rows(Rows rows, const T* x, const float* gamma, const float* beta, T* y, float* mean, float* rstd, double epsilon) {
  const auto count = static_cast<float>(rows.channels);
  for_warp_rows(rows, [&](std::int64_t r) {
    const std::int64_t begin = r * rows.channels;
    float sum = 0, squares = 0;
    for_packs<kWidth>(rows, [&](std::int64_t c) {
      const auto value = load_floats<kWidth>(x + begin + c);
      for (int k = 0; k < kWidth; ++k) sum += value[k];
    });
    const float row_mean = warp_sum(sum) / count;
    for_packs<kWidth>(rows, [&](std::int64_t c) {
      const auto value = load_floats<kWidth>(x + begin + c);
      for (int k = 0; k < kWidth; ++k) squares = fmaf(value[k] - row_mean, value[k] - row_mean, squares);
    });
    const float variance = warp_sum(squares) / count;
    const auto row_rstd = static_cast<float>(1 / sqrt(static_cast<double>(variance) + epsilon));
    for_packs<kWidth>(rows, [&](std::int64_t c) {
      auto value = load_floats<kWidth>(x + begin + c);
      const auto scale = load_floats<kWidth>(gamma + c), shift = load_floats<kWidth>(beta + c);
      for (int k = 0; k < kWidth; ++k) value[k] = fmaf((value[k] - row_mean) * row_rstd, scale[k], shift[k]);
      store_floats(y + begin + c, value);
    });
    if (threadIdx.x % kWarpThreads == 0) mean[r] = row_mean, rstd[r] = row_rstd;
  });
}

/// dx may be dy.
template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads)
    input_gradient(Rows rows, const T* x, const T* dy, const float* gamma, const float* mean, const float* rstd, T* dx) {
  const auto count = static_cast<float>(rows.channels);
  for_warp_rows(rows, [&](std::int64_t r) {
    const std::int64_t begin = r * rows.channels;
    const float row_mean = mean[r], row_rstd = rstd[r];
    struct Loaded {
      Floats<kWidth> gradient, normalized;
    };
    const auto load = [&](std::int64_t c) {
      Loaded loaded{load_floats<kWidth>(dy + begin + c), load_floats<kWidth>(x + begin + c)};
      const auto scale = load_floats<kWidth>(gamma + c);
      for (int k = 0; k < kWidth; ++k) {
        loaded.gradient[k] *= scale[k];
        loaded.normalized[k] = (loaded.normalized[k] - row_mean) * row_rstd;
      }
      return loaded;
    };
    float sum = 0, product = 0;
    for_packs<kWidth>(rows, [&](std::int64_t c) {
      const Loaded loaded = load(c);
      for (int k = 0; k < kWidth; ++k) {
        sum += loaded.gradient[k];
        product = fmaf(loaded.gradient[k], loaded.normalized[k], product);
      }
    });
    const float mean_gradient = warp_sum(sum) / count, mean_product = warp_sum(product) / count;
    for_packs<kWidth>(rows, [&](std::int64_t c) {
      const Loaded loaded = load(c);
      Floats<kWidth> result;
      for (int k = 0; k < kWidth; ++k) {
        result[k] = fmaf(-loaded.normalized[k], mean_product, loaded.gradient[k] - mean_gradient) * row_rstd;
      }
      store_floats(dx + begin + c, result);
    });
  });
}

/// Sums of dy and of dy (x - mean) rstd over each block of rows.
template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads)
    row_block_sums(ChannelTiles tiles, const T* x, const T* dy, const float* mean, const float* rstd, ChannelPartials partials) {
  __shared__ SlotSums<float, 2 * kWidth, kThreads> of_thread;
  struct Loaded {
    Pack<T, kWidth> x, dy;
    float mean, rstd;
  };
  const TilePlace<kWidth> place(tiles);
  float sums[2 * kWidth] = {};  // of dy, then of products
  if (place.active) {
    const auto load = [&](std::int64_t row) {
      const std::int64_t at = row * tiles.channels + place.channel;
      return Loaded{load_pack<kWidth>(x + at), load_pack<kWidth>(dy + at), mean[row], rstd[row]};
    };
    for_rows<2>(tiles, place, place.row_end(tiles, tiles.rows()), load, [&](std::int64_t, const Loaded& loaded) {
      for (int k = 0; k < kWidth; ++k) {
        const float gradient = to_float(loaded.dy.values[k]);
        sums[k] += gradient;
        sums[kWidth + k] = fmaf(gradient, (to_float(loaded.x.values[k]) - loaded.mean) * loaded.rstd, sums[kWidth + k]);
      }
    });
  }
  sum_slots(sums, tiles.lanes, tiles.slots, of_thread);
  if (!place.active || place.slot != 0) return;
  Floats<kWidth> sum, product;
  for (int k = 0; k < kWidth; ++k) sum[k] = sums[k], product[k] = sums[kWidth + k];
  store_floats(partials.first(place.row_block) + place.channel, sum);
  store_floats(partials.second(place.row_block) + place.channel, product);
}

/// The sums of all blocks, in FP64.
__global__ void __launch_bounds__(kTotalThreads)
    totals_of_channels(ChannelTiles tiles, ChannelPartials partials, float* dgamma, float* dbeta, bool accumulate) {
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * kTotalLanes + threadIdx.x % kTotalLanes;
  const std::int64_t slot = threadIdx.x / kTotalLanes;
  double sums[2] = {};  // of dy, then of products
  for (std::int64_t b = slot; b < tiles.row_blocks && c < tiles.channels; b += total_slots()) {
    sums[0] += static_cast<double>(partials.first(b)[c]);
    sums[1] += static_cast<double>(partials.second(b)[c]);
  }
  total_of_slots(sums);
  if (slot != 0 || c >= tiles.channels) return;
  if (accumulate) sums[0] += static_cast<double>(dbeta[c]), sums[1] += static_cast<double>(dgamma[c]);
  dbeta[c] = static_cast<float>(sums[0]);
  dgamma[c] = static_cast<float>(sums[1]);
}

Rows rows_of(const ConstTensorView& x) {
  const std::int64_t channels = x.shape()[-1];
  return {.count = x.elements() / channels, .channels = channels};
}

std::function<void(Stream&)> make_forward(const LayerNormForward& args) {
  const Rows rows = rows_of(args.x);
  const bool packed = fits_packs(args.x.dtype(), rows.channels, args.x.raw(), args.y.raw(), args.gamma.raw(), args.beta.raw());
  return dispatch_packs(args.x.dtype(), packed, [&](auto element, auto width) -> std::function<void(Stream&)> {
    using T = decltype(element);
    return [=, x = device_pointer<T>(args.x), gamma = device_pointer<float>(args.gamma), beta = device_pointer<float>(args.beta),
            y = device_pointer<T>(args.y), mean = device_pointer<float>(args.mean), rstd = device_pointer<float>(args.rstd),
            epsilon = args.epsilon](Stream& stream) {
      launch<normalize_rows<T, width>>(stream, rows.shape(), rows, x, gamma, beta, y, mean, rstd, epsilon);
    };
  });
}

std::function<void(Stream&)> make_backward_data(const LayerNormBackwardData& args) {
  const Rows rows = rows_of(args.x);
  const bool packed = fits_packs(args.x.dtype(), rows.channels, args.x.raw(), args.dy.raw(), args.dx.raw(), args.gamma.raw());
  return dispatch_packs(args.x.dtype(), packed, [&](auto element, auto width) -> std::function<void(Stream&)> {
    using T = decltype(element);
    return [=, x = device_pointer<T>(args.x), dy = device_pointer<T>(args.dy), gamma = device_pointer<float>(args.gamma),
            mean = device_pointer<float>(args.mean), rstd = device_pointer<float>(args.rstd), dx = device_pointer<T>(args.dx)](
               Stream& stream) { launch<input_gradient<T, width>>(stream, rows.shape(), rows, x, dy, gamma, mean, rstd, dx); };
  });
}

std::function<void(Stream&)> make_backward_weights(const LayerNormBackwardWeights& args) {
  const bool packed = fits_packs(args.x.dtype(), args.x.shape()[-1], args.x.raw(), args.dy.raw(), args.workspace.raw());
  return dispatch_packs(args.x.dtype(), packed, [&](auto element, auto width) -> std::function<void(Stream&)> {
    using T = decltype(element);
    const ChannelTiles tiles(args.x, width);
    const ChannelPartials partials{static_cast<float*>(args.workspace.raw()), tiles.channels};
    return [=, x = device_pointer<T>(args.x), dy = device_pointer<T>(args.dy), mean = device_pointer<float>(args.mean),
            rstd = device_pointer<float>(args.rstd), dgamma = device_pointer<float>(args.dgamma),
            dbeta = device_pointer<float>(args.dbeta), accumulate = args.accumulate](Stream& stream) {
      launch<row_block_sums<T, width>>(stream, tiles.shape(), tiles, x, dy, mean, rstd, partials);
      launch<totals_of_channels>(stream, totals_shape(tiles), tiles, partials, dgamma, dbeta, accumulate);
    };
  });
}

std::int64_t workspace_bytes(const LayerNormBackwardWeights& args) { return ChannelPartials::size_bytes(args.x); }

}  // namespace layer_norm_kernels

void add_layer_norm_kernels(Backend& backend) {
  namespace own = layer_norm_kernels;
  backend.add_kernel<LayerNormForward>(cuda_kernel<LayerNormForward>(own::make_forward), kSet);
  backend.add_kernel<LayerNormBackwardData>(cuda_kernel<LayerNormBackwardData>(own::make_backward_data), kSet);
  backend.add_kernel<LayerNormBackwardWeights>(
      cuda_kernel<LayerNormBackwardWeights>(own::make_backward_weights, own::workspace_bytes), kSet);
}

}  // namespace minim::cuda
