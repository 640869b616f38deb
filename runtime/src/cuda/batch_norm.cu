#include "minim/runtime/kernels/batch_norm.h"

#include "cuda/channel_tiles.cuh"
#include "cuda/cuda_kernel.h"
#include "cuda/kernels.h"

namespace minim::cuda {
namespace batch_norm_kernels {

/// Mean and sum of squared deviations of each block of rows, as channel_loops.h says of the CPU's: deviations from the block's
/// first row are summed.
template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads)
    row_block_moments(ChannelTiles tiles, const T* x, const std::int32_t* valid_samples, ChannelPartials partials) {
  __shared__ Floats<kWidth> of_thread[2][kThreads];
  const TilePlace<kWidth> place(tiles);
  const std::int64_t row_end = place.row_end(tiles, tiles.valid_rows(valid_samples));
  if (place.row_begin >= row_end) return;
  Floats<kWidth> origin{}, sum{}, squares{};
  if (place.active) {
    x += place.channel;
    origin = load_floats<kWidth>(x + place.row_begin * tiles.channels);
    for (std::int64_t row = place.row_begin + place.slot; row < row_end; row += tiles.slots) {
      const auto value = load_floats<kWidth>(x + row * tiles.channels);
      for (int k = 0; k < kWidth; ++k) {
        const float deviation = value[k] - origin[k];
        sum[k] += deviation;
        squares[k] = fmaf(deviation, deviation, squares[k]);
      }
    }
  }
  sum = sum_slots(sum, tiles.lanes, tiles.slots, of_thread[0]);
  squares = sum_slots(squares, tiles.lanes, tiles.slots, of_thread[1]);
  if (!place.active || place.slot != 0) return;
  const auto count = static_cast<float>(row_end - place.row_begin);
  for (int k = 0; k < kWidth; ++k) {
    const float offset = sum[k] / count;
    squares[k] = fmaf(-sum[k], offset, squares[k]);
    origin[k] += offset;
  }
  store_floats(partials.first(place.row_block) + place.channel, origin);
  store_floats(partials.second(place.row_block) + place.channel, squares);
}

/// What becomes of the moments of a channel.
struct Statistics {
  const float* gamma;
  float* mean;
  float* rstd;
  float* running_mean;      ///< may be null
  float* running_variance;  ///< may be null
  double momentum, epsilon;

  __device__ void update(float* running, std::int64_t c, double batch) const {
    if (running != nullptr) running[c] = static_cast<float>((1 - momentum) * static_cast<double>(running[c]) + momentum * batch);
  }
  /// Returns gamma rstd.
  __device__ float write(std::int64_t c, double batch_mean, double squares, double count) const {
    mean[c] = static_cast<float>(batch_mean);
    rstd[c] = static_cast<float>(1 / sqrt(squares / count + epsilon));
    update(running_mean, c, batch_mean);
    update(running_variance, c, squares / (count > 1 ? count - 1 : 1));
    return gamma[c] * rstd[c];
  }
};

/// The moments of all blocks in FP64.
/// Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
__global__ void __launch_bounds__(kThreads) statistics_of_channels(ChannelTiles tiles, const std::int32_t* valid_samples,
                                                                   ChannelPartials partials, Statistics statistics) {
  __shared__ double of_thread[kThreads];
  const std::int64_t valid_rows = tiles.valid_rows(valid_samples);
  if (valid_rows == 0) return;
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * kTotalLanes + threadIdx.x % kTotalLanes;
  const std::int64_t slot = threadIdx.x / kTotalLanes;
  const std::int64_t blocks = c < tiles.channels ? tiles.blocks_of(valid_rows) : 0;
  double sum = 0;
  for (std::int64_t b = slot; b < blocks; b += kTotalSlots) {
    sum += static_cast<double>(tiles.rows_of(b, valid_rows)) * static_cast<double>(partials.first(b)[c]);
  }
  const double mean = total_of_slots(sum, of_thread) / static_cast<double>(valid_rows);
  double squares = 0;
  for (std::int64_t b = slot; b < blocks; b += kTotalSlots) {
    const double offset = static_cast<double>(partials.first(b)[c]) - mean;
    squares += static_cast<double>(partials.second(b)[c]) + static_cast<double>(tiles.rows_of(b, valid_rows)) * offset * offset;
  }
  squares = total_of_slots(squares, of_thread);
  if (slot != 0 || c >= tiles.channels) return;
  if (squares < 0) squares = 0;  // rounding in a block of equal values; NaN stays
  partials.result(tiles, 0)[c] = statistics.write(c, mean, squares, static_cast<double>(valid_rows));
}

/// The channels' coefficients of y = (x - mean) * scale + shift.
template <int kWidth>
struct Affine {
  Floats<kWidth> mean, scale, shift;
};

/// Applies `affine` to the place's valid rows; y of padding is 0.
template <class T, int kWidth>
__device__ void apply_affine(const ChannelTiles& tiles, const TilePlace<kWidth>& place, const Affine<kWidth>& affine, const T* x,
                             T* y, std::int64_t valid_rows) {
  const std::int64_t row_end = place.row_end(tiles, tiles.rows());
  for (std::int64_t row = place.row_begin + place.slot; row < row_end; row += tiles.slots) {
    const std::int64_t at = row * tiles.channels + place.channel;
    Floats<kWidth> result{};
    if (row < valid_rows) {
      result = load_floats<kWidth>(x + at);
      for (int k = 0; k < kWidth; ++k) result[k] = fmaf(result[k] - affine.mean[k], affine.scale[k], affine.shift[k]);
    }
    store_floats(y + at, result);
  }
}

template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads) normalise(ChannelTiles tiles, const T* x, T* y, const std::int32_t* valid_samples,
                                                      const float* mean, const float* beta, ChannelPartials partials) {
  const TilePlace<kWidth> place(tiles);
  if (!place.active) return;
  const std::int64_t valid_rows = tiles.valid_rows(valid_samples);
  Affine<kWidth> affine{};
  if (valid_rows > 0) {
    affine = {load_floats<kWidth>(mean + place.channel), load_floats<kWidth>(partials.result(tiles, 0) + place.channel),
              load_floats<kWidth>(beta + place.channel)};
  }
  apply_affine(tiles, place, affine, x, y, valid_rows);
}

/// The vectors of BatchNormInference.
struct GivenStatistics {
  const float* gamma;
  const float* beta;
  const float* mean;
  const float* variance;
  double epsilon;
};

template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads) normalise_given(ChannelTiles tiles, const T* x, T* y, GivenStatistics given) {
  // One thread computes the coefficient of a channel for all slots.
  __shared__ float scale[ChannelTiles::kMaxLanes * kWidth];
  const TilePlace<kWidth> place(tiles);
  for (std::int64_t i = threadIdx.x; i < tiles.lanes * kWidth; i += kThreads) {
    const std::int64_t c = place.chunk_channel + i;
    if (c >= tiles.channels) continue;
    scale[i] =
        static_cast<float>(static_cast<double>(given.gamma[c]) / sqrt(static_cast<double>(given.variance[c]) + given.epsilon));
  }
  __syncthreads();
  if (!place.active) return;
  Affine<kWidth> affine{load_floats<kWidth>(given.mean + place.channel), {}, load_floats<kWidth>(given.beta + place.channel)};
  for (int k = 0; k < kWidth; ++k) affine.scale[k] = scale[place.channel - place.chunk_channel + k];
  apply_affine(tiles, place, affine, x, y, tiles.rows());
}

float* optional_pointer(const TensorView& view) { return view.present() ? device_pointer<float>(view) : nullptr; }

bool packed(const BatchNormForward& args) {
  return fits_packs(args.x.dtype(), args.x.shape()[-1], args.x.raw(), args.y.raw(), args.mean.raw(), args.beta.raw(),
                    args.workspace.raw());
}

std::function<void(Stream&)> make_forward(const BatchNormForward& args) {
  return dispatch_packs(args.x.dtype(), packed(args), [&](auto element, auto width) -> std::function<void(Stream&)> {
    using T = decltype(element);
    const ChannelTiles tiles(args.x, width);
    const ChannelPartials partials{static_cast<float*>(args.workspace.raw()), tiles.channels};
    const Statistics statistics{.gamma = device_pointer<float>(args.gamma),
                                .mean = device_pointer<float>(args.mean),
                                .rstd = device_pointer<float>(args.rstd),
                                .running_mean = optional_pointer(args.running_mean),
                                .running_variance = optional_pointer(args.running_variance),
                                .momentum = args.momentum,
                                .epsilon = args.epsilon};
    const auto* const x = device_pointer<T>(args.x);
    auto* const y = device_pointer<T>(args.y);
    const auto* const beta = device_pointer<float>(args.beta);
    const auto* const valid = valid_pointer(args.valid_samples);
    return [=](Stream& stream) {
      launch<row_block_moments<T, width>>(stream, tiles.shape(), tiles, x, valid, partials);
      launch<statistics_of_channels>(stream, totals_shape(tiles), tiles, valid, partials, statistics);
      launch<normalise<T, width>>(stream, tiles.shape(), tiles, x, y, valid, statistics.mean, beta, partials);
    };
  });
}

std::function<void(Stream&)> make_inference(const BatchNormInference& args) {
  const bool packs = fits_packs(args.x.dtype(), args.x.shape()[-1], args.x.raw(), args.y.raw(), args.mean.raw(), args.beta.raw());
  return dispatch_packs(args.x.dtype(), packs, [&](auto element, auto width) -> std::function<void(Stream&)> {
    using T = decltype(element);
    const ChannelTiles tiles(args.x, width);
    const GivenStatistics given{.gamma = device_pointer<float>(args.gamma),
                                .beta = device_pointer<float>(args.beta),
                                .mean = device_pointer<float>(args.mean),
                                .variance = device_pointer<float>(args.variance),
                                .epsilon = args.epsilon};
    const auto* const x = device_pointer<T>(args.x);
    auto* const y = device_pointer<T>(args.y);
    return [=](Stream& stream) { launch<normalise_given<T, width>>(stream, tiles.shape(), tiles, x, y, given); };
  });
}

std::int64_t workspace_bytes(const BatchNormForward& args) { return ChannelPartials::size_bytes(args.x); }

}  // namespace batch_norm_kernels

void add_batch_norm_kernels(Backend& backend) {
  backend.add_kernel<BatchNormForward>(
      cuda_kernel<BatchNormForward>(batch_norm_kernels::make_forward, batch_norm_kernels::workspace_bytes), kSet);
  backend.add_kernel<BatchNormInference>(cuda_kernel<BatchNormInference>(batch_norm_kernels::make_inference), kSet);
}

}  // namespace minim::cuda
