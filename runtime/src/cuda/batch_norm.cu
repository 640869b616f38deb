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
  __shared__ SlotSums<float, 2 * kWidth, kThreads> of_thread;
  const TilePlace<kWidth> place(tiles);
  const std::int64_t row_end = place.row_end(tiles, tiles.valid_rows(valid_samples));
  if (place.row_begin >= row_end) return;
  Floats<kWidth> origin{};
  float sums[2 * kWidth] = {};  // of deviations, then of their squares
  if (place.active) {
    x += place.channel;
    origin = load_floats<kWidth>(x + place.row_begin * tiles.channels);
    const auto load = [&](std::int64_t row) { return load_pack<kWidth>(x + row * tiles.channels); };
    for_rows<4>(tiles, place, row_end, load, [&](std::int64_t, const Pack<T, kWidth>& pack) {
      const auto value = to_floats(pack);
      for (int k = 0; k < kWidth; ++k) {
        const float deviation = value[k] - origin[k];
        sums[k] += deviation;
        sums[kWidth + k] = fmaf(deviation, deviation, sums[kWidth + k]);
      }
    });
  }
  sum_slots(sums, tiles.lanes, tiles.slots, of_thread);
  if (!place.active || place.slot != 0) return;
  const auto count = static_cast<float>(row_end - place.row_begin);
  Floats<kWidth> squares;
  for (int k = 0; k < kWidth; ++k) {
    const float offset = sums[k] / count;
    squares[k] = fmaf(-sums[k], offset, sums[kWidth + k]);
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

/// Of a channel.
struct Moments {
  double mean, squares;  ///< squares: sum of squared deviations
};

/// The moments of all blocks in FP64, in one pass, for the threads of slot 0: sums of deviations from the first block's mean.
/// There are valid rows. All threads call it.
/// Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
__device__ Moments moments_of_blocks(const ChannelTiles& tiles, std::int64_t valid_rows, const ChannelPartials& partials,
                                     std::int64_t c, std::int64_t slot) {
  const std::int64_t blocks = c < tiles.channels ? tiles.blocks_of(valid_rows) : 0;
  const double origin = blocks > 0 ? static_cast<double>(partials.first(0)[c]) : 0;
  double sums[2] = {};  // of the means' offsets, then of squares
  for (std::int64_t b = slot; b < blocks; b += total_slots()) {
    const double offset = static_cast<double>(partials.first(b)[c]) - origin;
    const double weighted = static_cast<double>(tiles.rows_of(b, valid_rows)) * offset;
    sums[0] += weighted;
    sums[1] += static_cast<double>(partials.second(b)[c]) + weighted * offset;
  }
  total_of_slots(sums);
  const auto count = static_cast<double>(valid_rows);
  const double squares = sums[1] - sums[0] * sums[0] / count;
  return {origin + sums[0] / count, squares < 0 ? 0 : squares};  // rounding in a block of equal values; NaN stays
}

__global__ void __launch_bounds__(kTotalThreads) statistics_of_channels(ChannelTiles tiles, const std::int32_t* valid_samples,
                                                                        ChannelPartials partials, Statistics statistics) {
  const std::int64_t valid_rows = tiles.valid_rows(valid_samples);
  if (valid_rows == 0) return;
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * kTotalLanes + threadIdx.x % kTotalLanes;
  const std::int64_t slot = threadIdx.x / kTotalLanes;
  const Moments moments = moments_of_blocks(tiles, valid_rows, partials, c, slot);
  if (slot != 0 || c >= tiles.channels) return;
  partials.result(tiles, 0)[c] = statistics.write(c, moments.mean, moments.squares, static_cast<double>(valid_rows));
}

__global__ void __launch_bounds__(kTotalThreads)
    contribution_of_channels(ChannelTiles tiles, const std::int32_t* valid_samples, ChannelPartials partials, float* own) {
  const std::int64_t valid_rows = tiles.valid_rows(valid_samples);
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * kTotalLanes + threadIdx.x % kTotalLanes;
  const std::int64_t slot = threadIdx.x / kTotalLanes;
  Moments moments{};
  if (valid_rows > 0) moments = moments_of_blocks(tiles, valid_rows, partials, c, slot);
  if (slot != 0 || c >= tiles.channels) return;
  own[c] = static_cast<float>(moments.mean);
  own[tiles.channels + c] = static_cast<float>(moments.squares);
  if (c == 0) own[2 * tiles.channels] = static_cast<float>(valid_rows);
}

/// A thread has a channel. Ranks are combined in FP64, in their order.
__global__ void __launch_bounds__(kThreads) statistics_of_ranks(Contributions ranks, Statistics statistics, float* scale) {
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const double count = ranks.count();
  if (c >= ranks.channels || count == 0) return;
  double mean = 0;
  for (int rank = 0; rank < ranks.ranks; ++rank) mean += ranks.count(rank) * ranks.first(rank, c);
  mean /= count;
  double squares = 0;
  for (int rank = 0; rank < ranks.ranks; ++rank) {
    const double offset = ranks.first(rank, c) - mean;
    squares += ranks.second(rank, c) + ranks.count(rank) * offset * offset;
  }
  scale[c] = statistics.write(c, mean, squares, count);
}

/// Blocks on a multiprocessor that registers are to suffice for. Left to itself ptxas aims at more and spills.
constexpr int kBlocksAtOnce = 4;

/// What becomes of x beside the channels' coefficients.
template <class T>
struct Elements {
  const T* x;
  const T* addend;  ///< may be null
  T* y;
  Activation activation;
};

/// Applies `affine` to the place's valid rows; y of padding is 0.
template <class T, int kWidth>
__device__ void apply_affine(const ChannelTiles& tiles, const TilePlace<kWidth>& place, const Affine<kWidth>& affine,
                             const Elements<T>& elements, std::int64_t valid_rows) {
  struct Loaded {
    Pack<T, kWidth> x, addend;
  };
  const auto load = [&](std::int64_t row) {
    const std::int64_t at = row * tiles.channels + place.channel;
    Loaded loaded{};
    if (row >= valid_rows) return loaded;
    loaded.x = load_pack<kWidth>(elements.x + at);
    if (elements.addend != nullptr) loaded.addend = load_pack<kWidth>(elements.addend + at);
    return loaded;
  };
  for_rows<1>(tiles, place, place.row_end(tiles, tiles.rows()), load, [&](std::int64_t row, const Loaded& loaded) {
    Floats<kWidth> result{};
    if (row < valid_rows) {
      result = affine(to_floats(loaded.x));
      if (elements.addend != nullptr) result += to_floats(loaded.addend);
      if (elements.activation == Activation::relu) {
        for (int k = 0; k < kWidth; ++k) result[k] = result[k] <= 0 ? 0 : result[k];
      }
    }
    store_floats(elements.y + row * tiles.channels + place.channel, result);
  });
}

template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    normalise(ChannelTiles tiles, Elements<T> elements, const std::int32_t* valid_samples, const float* mean, const float* beta,
              const float* scale) {
  const TilePlace<kWidth> place(tiles);
  if (!place.active) return;
  const std::int64_t valid_rows = tiles.valid_rows(valid_samples);
  Affine<kWidth> affine{};
  if (valid_rows > 0) {
    affine = {load_floats<kWidth>(mean + place.channel), load_floats<kWidth>(scale + place.channel),
              load_floats<kWidth>(beta + place.channel)};
  }
  apply_affine(tiles, place, affine, elements, valid_rows);
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
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    normalise_given(ChannelTiles tiles, Elements<T> elements, GivenStatistics given) {
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
  apply_affine(tiles, place, affine, elements, tiles.rows());
}

float* optional_pointer(const TensorView& view) { return view.present() ? device_pointer<float>(view) : nullptr; }

/// Of a forward pass, whether for training or not.
template <class T, class Args>
Elements<T> elements_of(const Args& args) {
  return {.x = device_pointer<T>(args.x),
          .addend = args.addend.present() ? device_pointer<T>(args.addend) : nullptr,
          .y = device_pointer<T>(args.y),
          .activation = args.activation};
}

/// `others`: the arrays of one value per channel.
template <class Args, class... Pointers>
bool packed(const Args& args, const Pointers*... others) {
  return fits_packs(args.x.dtype(), args.x.shape()[-1], args.x.raw(), args.addend.raw(), args.y.raw(), others...);
}

std::function<void(Stream&)> make_forward(const BatchNormForward& args) {
  const bool packs = packed(args, args.mean.raw(), args.beta.raw(), args.workspace.raw());
  return dispatch_packs(args.x.dtype(), packs, [&](auto element, auto width) -> std::function<void(Stream&)> {
    using T = decltype(element);
    const ChannelTiles tiles(args.x, width), element_tiles(args.x, width, ChannelTiles::kMaxElementBlocks);
    const ChannelPartials partials{static_cast<float*>(args.workspace.raw()), tiles.channels};
    const Statistics statistics{.gamma = device_pointer<float>(args.gamma),
                                .mean = device_pointer<float>(args.mean),
                                .rstd = device_pointer<float>(args.rstd),
                                .running_mean = optional_pointer(args.running_mean),
                                .running_variance = optional_pointer(args.running_variance),
                                .momentum = args.momentum,
                                .epsilon = args.epsilon};
    const auto elements = elements_of<T>(args);
    const auto* const beta = device_pointer<float>(args.beta);
    const auto* const valid = valid_pointer(args.valid_samples);
    auto* const scale = partials.result(tiles, 0);
    const auto normalise_rows = [=](Stream& stream) {
      launch<normalise<T, width>>(stream, element_tiles.shape(), element_tiles, elements, valid, statistics.mean, beta, scale);
    };
    if (args.moments.present()) {
      return [=, ranks = Contributions(args.moments)](Stream& stream) {
        launch<statistics_of_ranks>(stream, ranks.shape(), ranks, statistics, scale);
        normalise_rows(stream);
      };
    }
    return [=](Stream& stream) {
      launch<row_block_moments<T, width>>(stream, tiles.shape(), tiles, elements.x, valid, partials);
      launch<statistics_of_channels>(stream, totals_shape(tiles), tiles, valid, partials, statistics);
      normalise_rows(stream);
    };
  });
}

std::function<void(Stream&)> make_moments(const BatchNormMoments& args) {
  const bool packs = fits_packs(args.x.dtype(), args.x.shape()[-1], args.x.raw(), args.workspace.raw());
  return dispatch_packs(args.x.dtype(), packs, [&](auto element, auto width) -> std::function<void(Stream&)> {
    using T = decltype(element);
    const ChannelTiles tiles(args.x, width);
    const ChannelPartials partials{static_cast<float*>(args.workspace.raw()), tiles.channels};
    const auto* const x = device_pointer<T>(args.x);
    const auto* const valid = valid_pointer(args.valid_samples);
    auto* const own = device_pointer<float>(args.moments);
    return [=](Stream& stream) {
      launch<row_block_moments<T, width>>(stream, tiles.shape(), tiles, x, valid, partials);
      launch<contribution_of_channels>(stream, totals_shape(tiles), tiles, valid, partials, own);
    };
  });
}

std::function<void(Stream&)> make_inference(const BatchNormInference& args) {
  const bool packs = packed(args, args.mean.raw(), args.beta.raw());
  return dispatch_packs(args.x.dtype(), packs, [&](auto element, auto width) -> std::function<void(Stream&)> {
    using T = decltype(element);
    const ChannelTiles tiles(args.x, width, ChannelTiles::kMaxElementBlocks);
    const GivenStatistics given{.gamma = device_pointer<float>(args.gamma),
                                .beta = device_pointer<float>(args.beta),
                                .mean = device_pointer<float>(args.mean),
                                .variance = device_pointer<float>(args.variance),
                                .epsilon = args.epsilon};
    return [=, elements = elements_of<T>(args)](Stream& stream) {
      launch<normalise_given<T, width>>(stream, tiles.shape(), tiles, elements, given);
    };
  });
}

template <class Args>
std::int64_t workspace_bytes(const Args& args) {
  return ChannelPartials::size_bytes(args.x);
}

}  // namespace batch_norm_kernels

void add_batch_norm_kernels(Backend& backend) {
  backend.add_kernel<BatchNormMoments>(
      cuda_kernel<BatchNormMoments>(batch_norm_kernels::make_moments, batch_norm_kernels::workspace_bytes<BatchNormMoments>),
      kSet);
  backend.add_kernel<BatchNormForward>(
      cuda_kernel<BatchNormForward>(batch_norm_kernels::make_forward, batch_norm_kernels::workspace_bytes<BatchNormForward>),
      kSet);
  backend.add_kernel<BatchNormInference>(cuda_kernel<BatchNormInference>(batch_norm_kernels::make_inference), kSet);
}

}  // namespace minim::cuda
