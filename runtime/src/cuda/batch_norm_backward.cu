#include <type_traits>

#include "cuda/channel_tiles.cuh"
#include "cuda/cuda_kernel.h"
#include "cuda/kernels.h"
#include "minim/runtime/kernels/batch_norm.h"

namespace minim::cuda {
namespace batch_norm_backward_kernels {

/// Blocks on a multiprocessor that registers are to suffice for: as many as do without spilling on any architecture.
template <class T, bool kRelu>
constexpr int kBlocksAtOnce = kRelu&& std::is_same_v<T, __nv_bfloat16> ? 2 : 3;

/// x and dy, and the vectors of the forward pass.
template <class T>
struct Operands {
  const T* x;
  const T* dy;
  const float* mean;
  const float* rstd;
  const float* gamma;
  const float* beta;
};

/// A thread's elements of a row.
template <class T, int kWidth>
struct RowPacks {
  Pack<T, kWidth> x, dy;
};

template <class T, int kWidth>
__device__ RowPacks<T, kWidth> load_row(const Operands<T>& operands, std::int64_t at) {
  return {load_pack<kWidth>(operands.x + at), load_pack<kWidth>(operands.dy + at)};
}

/// Element `k` of dy, or 0 where there is a ReLU and y, as it is stored, is not positive.
template <bool kRelu, class T, int kWidth>
__device__ float passed(const Affine<kWidth>& forward, int k, float deviation, T dy) {
  if constexpr (kRelu) {
    if (!(fmaf(deviation, forward.scale[k], forward.shift[k]) > kRoundsToZero<T>)) return 0;
  }
  return to_float(dy);
}

/// Sums of dy and of dy (x - mean) over each block of rows.
template <class T, int kWidth, bool kRelu>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce<T, kRelu>)
    row_block_sums(ChannelTiles tiles, Operands<T> operands, const std::int32_t* valid_samples, ChannelPartials partials) {
  __shared__ SlotSums<float, 2 * kWidth, kThreads> of_thread;
  const TilePlace<kWidth> place(tiles);
  const std::int64_t row_end = place.row_end(tiles, tiles.valid_rows(valid_samples));
  if (place.row_begin >= row_end) return;
  float sums[2 * kWidth] = {};  // of dy, then of products
  if (place.active) {
    Affine<kWidth> forward{load_floats<kWidth>(operands.mean + place.channel),
                           load_floats<kWidth>(operands.gamma + place.channel),
                           load_floats<kWidth>(operands.beta + place.channel)};
    const auto rstd = load_floats<kWidth>(operands.rstd + place.channel);
    for (int k = 0; k < kWidth; ++k) forward.scale[k] *= rstd[k];
    const auto load = [&](std::int64_t row) { return load_row<T, kWidth>(operands, row * tiles.channels + place.channel); };
    for_rows<2>(tiles, place, row_end, load, [&](std::int64_t, const RowPacks<T, kWidth>& row) {
      for (int k = 0; k < kWidth; ++k) {
        const float deviation = to_float(row.x.values[k]) - forward.mean[k];
        const float gradient = passed<kRelu>(forward, k, deviation, row.dy.values[k]);
        sums[k] += gradient;
        sums[kWidth + k] = fmaf(gradient, deviation, sums[kWidth + k]);
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

/// What becomes of the sums of a channel.
struct ParameterGradients {
  const float* gamma;
  const float* rstd;
  float* dgamma;
  float* dbeta;
  bool accumulate;

  __device__ void write(std::int64_t c, double sum, double product, std::int64_t rows) const {
    // Without rows nobody has written rstd.
    const double gamma_gradient = rows > 0 ? product * static_cast<double>(rstd[c]) : 0;
    dgamma[c] = static_cast<float>((accumulate ? static_cast<double>(dgamma[c]) : 0.0) + gamma_gradient);
    dbeta[c] = static_cast<float>((accumulate ? static_cast<double>(dbeta[c]) : 0.0) + sum);
  }
};

/// Of dx = dy scale + (x - mean) slope + shift:
/// dx = gamma rstd (dy - sum / n - (x - mean) rstd^2 product / n)
struct Coefficients {
  __device__ void write(std::int64_t c, double gamma, double rstd_of_channel, double sum, double product, double rows) const {
    const double factor = gamma * rstd_of_channel;
    scale[c] = static_cast<float>(factor);
    slope[c] = static_cast<float>(-factor * rstd_of_channel * rstd_of_channel * product / rows);
    shift[c] = static_cast<float>(-factor * sum / rows);
  }

  float* scale;
  float* slope;
  float* shift;
};

/// Sums of dy and of dy (x - mean) over all blocks in FP64, for the threads of slot 0. All threads call it.
__device__ void sum_blocks(double (&sums)[2], const ChannelTiles& tiles, std::int64_t valid_rows, const ChannelPartials& partials,
                           std::int64_t c, std::int64_t slot) {
  const std::int64_t blocks = c < tiles.channels ? tiles.blocks_of(valid_rows) : 0;
  for (std::int64_t b = slot; b < blocks; b += total_slots()) {
    sums[0] += static_cast<double>(partials.first(b)[c]);
    sums[1] += static_cast<double>(partials.second(b)[c]);
  }
  total_of_slots(sums);
}

__global__ void __launch_bounds__(kTotalThreads)
    totals_of_channels(ChannelTiles tiles, const std::int32_t* valid_samples, ChannelPartials partials,
                       ParameterGradients gradients, Coefficients coefficients) {
  const std::int64_t valid_rows = tiles.valid_rows(valid_samples);
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * kTotalLanes + threadIdx.x % kTotalLanes;
  const std::int64_t slot = threadIdx.x / kTotalLanes;
  double sums[2] = {};
  sum_blocks(sums, tiles, valid_rows, partials, c, slot);
  if (slot != 0 || c >= tiles.channels) return;
  gradients.write(c, sums[0], sums[1], valid_rows);
  if (valid_rows == 0) return;
  coefficients.write(c, static_cast<double>(gradients.gamma[c]), static_cast<double>(gradients.rstd[c]), sums[0], sums[1],
                     static_cast<double>(valid_rows));
}

__global__ void __launch_bounds__(kTotalThreads)
    contribution_of_channels(ChannelTiles tiles, const std::int32_t* valid_samples, ChannelPartials partials,
                             ParameterGradients gradients, float* own) {
  const std::int64_t valid_rows = tiles.valid_rows(valid_samples);
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * kTotalLanes + threadIdx.x % kTotalLanes;
  const std::int64_t slot = threadIdx.x / kTotalLanes;
  double sums[2] = {};
  sum_blocks(sums, tiles, valid_rows, partials, c, slot);
  if (slot != 0 || c >= tiles.channels) return;
  gradients.write(c, sums[0], sums[1], valid_rows);
  own[c] = static_cast<float>(sums[0]);
  own[tiles.channels + c] = static_cast<float>(sums[1]);
  if (c == 0) own[2 * tiles.channels] = static_cast<float>(valid_rows);
}

/// A thread has a channel. Ranks are added in FP64, in their order.
__global__ void __launch_bounds__(kThreads)
    coefficients_of_ranks(Contributions ranks, const float* gamma, const float* rstd, Coefficients coefficients) {
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const double count = ranks.count();
  if (c >= ranks.channels || count == 0) return;
  double sum = 0, product = 0;
  for (int rank = 0; rank < ranks.ranks; ++rank) {
    sum += ranks.first(rank, c);
    product += ranks.second(rank, c);
  }
  coefficients.write(c, static_cast<double>(gamma[c]), static_cast<double>(rstd[c]), sum, product, count);
}

/// dx may be dy.
template <class T, int kWidth, bool kRelu>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce<T, kRelu>)
    input_gradient(ChannelTiles tiles, Operands<T> operands, T* dx, const std::int32_t* valid_samples,
                   Coefficients coefficients) {
  const TilePlace<kWidth> place(tiles);
  if (!place.active) return;
  const std::int64_t valid_rows = tiles.valid_rows(valid_samples);
  Affine<kWidth> forward{};
  Floats<kWidth> slope{}, shift{};
  if (valid_rows > 0) {
    // The scale that the totals left has the bits of the forward pass: a product of two floats is exact in FP64.
    forward = {load_floats<kWidth>(operands.mean + place.channel), load_floats<kWidth>(coefficients.scale + place.channel),
               load_floats<kWidth>(operands.beta + place.channel)};
    slope = load_floats<kWidth>(coefficients.slope + place.channel);
    shift = load_floats<kWidth>(coefficients.shift + place.channel);
  }
  const auto load = [&](std::int64_t row) {
    if (row >= valid_rows) return RowPacks<T, kWidth>{};
    return load_row<T, kWidth>(operands, row * tiles.channels + place.channel);
  };
  for_rows<1>(tiles, place, place.row_end(tiles, tiles.rows()), load, [&](std::int64_t at, const RowPacks<T, kWidth>& row) {
    Floats<kWidth> result{};
    if (at < valid_rows) {
      for (int k = 0; k < kWidth; ++k) {
        const float deviation = to_float(row.x.values[k]) - forward.mean[k];
        const float gradient = passed<kRelu>(forward, k, deviation, row.dy.values[k]);
        result[k] = fmaf(gradient, forward.scale[k], fmaf(deviation, slope[k], shift[k]));
      }
    }
    store_floats(dx + at * tiles.channels + place.channel, result);
  });
}

/// Of BatchNormBackward or BatchNormSums.
template <class T, class Args>
Operands<T> operands_of(const Args& args) {
  return {.x = device_pointer<T>(args.x),
          .dy = device_pointer<T>(args.dy),
          .mean = device_pointer<float>(args.mean),
          .rstd = device_pointer<float>(args.rstd),
          .gamma = device_pointer<float>(args.gamma),
          .beta = device_pointer<float>(args.beta)};
}

template <class Args>
ParameterGradients gradients_of(const Args& args) {
  return {.gamma = device_pointer<float>(args.gamma),
          .rstd = device_pointer<float>(args.rstd),
          .dgamma = device_pointer<float>(args.dgamma),
          .dbeta = device_pointer<float>(args.dbeta),
          .accumulate = args.accumulate};
}

/// `more`: arrays beside those that both kernels read.
template <class Args>
bool packed(const Args& args, const void* more) {
  return fits_packs(args.x.dtype(), args.x.shape()[-1], args.x.raw(), args.dy.raw(), more, args.mean.raw(), args.rstd.raw(),
                    args.gamma.raw(), args.beta.raw(), args.workspace.raw());
}

/// `use(element, width, has_relu)`, of types that say so.
template <class Args, class Use>
std::function<void(Stream&)> dispatch(const Args& args, bool packs, const Use& use) {
  return dispatch_packs(args.x.dtype(), packs, [&](auto element, auto width) -> std::function<void(Stream&)> {
    return args.activation == Activation::relu ? use(element, width, std::true_type{}) : use(element, width, std::false_type{});
  });
}

std::function<void(Stream&)> make_sums(const BatchNormSums& args) {
  return dispatch(args, packed(args, args.x.raw()), [&](auto element, auto width, auto has_relu) -> std::function<void(Stream&)> {
    using T = decltype(element);
    const ChannelTiles tiles(args.x, width);
    const ChannelPartials partials{static_cast<float*>(args.workspace.raw()), tiles.channels};
    return [=, operands = operands_of<T>(args), gradients = gradients_of(args), own = device_pointer<float>(args.sums),
            valid = valid_pointer(args.valid_samples)](Stream& stream) {
      launch<row_block_sums<T, width, has_relu>>(stream, tiles.shape(), tiles, operands, valid, partials);
      launch<contribution_of_channels>(stream, totals_shape(tiles), tiles, valid, partials, gradients, own);
    };
  });
}

std::function<void(Stream&)> make_backward(const BatchNormBackward& args) {
  return dispatch(
      args, packed(args, args.dx.raw()), [&](auto element, auto width, auto has_relu) -> std::function<void(Stream&)> {
        using T = decltype(element);
        const ChannelTiles tiles(args.x, width), element_tiles(args.x, width, ChannelTiles::kMaxElementBlocks);
        const ChannelPartials partials{static_cast<float*>(args.workspace.raw()), tiles.channels};
        const Operands<T> operands = operands_of<T>(args);
        const Coefficients coefficients{partials.result(tiles, 0), partials.result(tiles, 1), partials.result(tiles, 2)};
        auto* const dx = device_pointer<T>(args.dx);
        const auto* const valid = valid_pointer(args.valid_samples);
        const auto write_dx = [=](Stream& stream) {
          launch<input_gradient<T, width, has_relu>>(stream, element_tiles.shape(), element_tiles, operands, dx, valid,
                                                     coefficients);
        };
        if (args.sums.present()) {
          return [=, ranks = Contributions(args.sums)](Stream& stream) {
            launch<coefficients_of_ranks>(stream, ranks.shape(), ranks, operands.gamma, operands.rstd, coefficients);
            write_dx(stream);
          };
        }
        return [=, gradients = gradients_of(args)](Stream& stream) {
          launch<row_block_sums<T, width, has_relu>>(stream, tiles.shape(), tiles, operands, valid, partials);
          launch<totals_of_channels>(stream, totals_shape(tiles), tiles, valid, partials, gradients, coefficients);
          write_dx(stream);
        };
      });
}

template <class Args>
std::int64_t workspace_bytes(const Args& args) {
  return ChannelPartials::size_bytes(args.x);
}

}  // namespace batch_norm_backward_kernels

void add_batch_norm_backward_kernels(Backend& backend) {
  using namespace batch_norm_backward_kernels;
  backend.add_kernel<BatchNormSums>(cuda_kernel<BatchNormSums>(make_sums, workspace_bytes<BatchNormSums>), kSet);
  backend.add_kernel<BatchNormBackward>(cuda_kernel<BatchNormBackward>(make_backward, workspace_bytes<BatchNormBackward>), kSet);
}

}  // namespace minim::cuda
