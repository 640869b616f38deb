#include "cuda/channel_tiles.cuh"
#include "cuda/cuda_kernel.h"
#include "cuda/kernels.h"
#include "minim/runtime/kernels/batch_norm.h"

namespace minim::cuda {
namespace batch_norm_backward_kernels {

/// Sums of dy and of dy (x - mean) over each block of rows.
template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads)
    row_block_sums(ChannelTiles tiles, const T* x, const T* dy, const std::int32_t* valid_samples, const float* mean,
                   ChannelPartials partials) {
  __shared__ Floats<kWidth> of_thread[2][kThreads];
  const TilePlace<kWidth> place(tiles);
  const std::int64_t row_end = place.row_end(tiles, tiles.valid_rows(valid_samples));
  if (place.row_begin >= row_end) return;
  Floats<kWidth> sum{}, product{};
  if (place.active) {
    const auto center = load_floats<kWidth>(mean + place.channel);
    for (std::int64_t row = place.row_begin + place.slot; row < row_end; row += tiles.slots) {
      const std::int64_t at = row * tiles.channels + place.channel;
      const auto gradient = load_floats<kWidth>(dy + at);
      const auto value = load_floats<kWidth>(x + at);
      sum += gradient;
      for (int k = 0; k < kWidth; ++k) product[k] = fmaf(gradient[k], value[k] - center[k], product[k]);
    }
  }
  sum = sum_slots(sum, tiles.lanes, tiles.slots, of_thread[0]);
  product = sum_slots(product, tiles.lanes, tiles.slots, of_thread[1]);
  if (!place.active || place.slot != 0) return;
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

  __device__ void write(std::int64_t c, double sum, double product) const {
    dgamma[c] = static_cast<float>((accumulate ? static_cast<double>(dgamma[c]) : 0.0) + product * static_cast<double>(rstd[c]));
    dbeta[c] = static_cast<float>((accumulate ? static_cast<double>(dbeta[c]) : 0.0) + sum);
  }
};

/// The sums of all blocks in FP64, and the coefficients of dx = dy scale + (x - mean) slope + shift: results 0, 1 and 2.
/// dx = gamma rstd (dy - sum / n - (x - mean) rstd^2 product / n)
__global__ void __launch_bounds__(kThreads) totals_of_channels(ChannelTiles tiles, const std::int32_t* valid_samples,
                                                               ChannelPartials partials, ParameterGradients gradients) {
  __shared__ double of_thread[kThreads];
  const std::int64_t valid_rows = tiles.valid_rows(valid_samples);
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * kTotalLanes + threadIdx.x % kTotalLanes;
  const std::int64_t slot = threadIdx.x / kTotalLanes;
  const std::int64_t blocks = c < tiles.channels ? tiles.blocks_of(valid_rows) : 0;
  double sum = 0;
  double product = 0;
  for (std::int64_t b = slot; b < blocks; b += kTotalSlots) {
    sum += static_cast<double>(partials.first(b)[c]);
    product += static_cast<double>(partials.second(b)[c]);
  }
  sum = total_of_slots(sum, of_thread);
  product = total_of_slots(product, of_thread);
  if (slot != 0 || c >= tiles.channels) return;
  if (valid_rows == 0) {
    if (!gradients.accumulate) gradients.dgamma[c] = gradients.dbeta[c] = 0;
    return;
  }
  gradients.write(c, sum, product);
  const auto rows = static_cast<double>(valid_rows);
  const auto rstd = static_cast<double>(gradients.rstd[c]);
  const double factor = static_cast<double>(gradients.gamma[c]) * rstd;
  partials.result(tiles, 0)[c] = static_cast<float>(factor);
  partials.result(tiles, 1)[c] = static_cast<float>(-factor * rstd * rstd * product / rows);
  partials.result(tiles, 2)[c] = static_cast<float>(-factor * sum / rows);
}

/// dx may be dy.
template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads)
    input_gradient(ChannelTiles tiles, const T* x, const T* dy, T* dx, const std::int32_t* valid_samples, const float* mean,
                   ChannelPartials partials) {
  const TilePlace<kWidth> place(tiles);
  if (!place.active) return;
  const std::int64_t valid_rows = tiles.valid_rows(valid_samples);
  Floats<kWidth> center{}, scale{}, slope{}, shift{};
  if (valid_rows > 0) {
    center = load_floats<kWidth>(mean + place.channel);
    scale = load_floats<kWidth>(partials.result(tiles, 0) + place.channel);
    slope = load_floats<kWidth>(partials.result(tiles, 1) + place.channel);
    shift = load_floats<kWidth>(partials.result(tiles, 2) + place.channel);
  }
  const std::int64_t row_end = place.row_end(tiles, tiles.rows());
  for (std::int64_t row = place.row_begin + place.slot; row < row_end; row += tiles.slots) {
    const std::int64_t at = row * tiles.channels + place.channel;
    Floats<kWidth> result{};
    if (row < valid_rows) {
      const auto value = load_floats<kWidth>(x + at);
      const auto gradient = load_floats<kWidth>(dy + at);
      for (int k = 0; k < kWidth; ++k) {
        result[k] = fmaf(gradient[k], scale[k], fmaf(value[k] - center[k], slope[k], shift[k]));
      }
    }
    store_floats(dx + at, result);
  }
}

std::function<void(Stream&)> make_backward(const BatchNormBackward& args) {
  const bool packed = fits_packs(args.x.dtype(), args.x.shape()[-1], args.x.raw(), args.dy.raw(), args.dx.raw(), args.mean.raw(),
                                 args.workspace.raw());
  return dispatch_packs(args.x.dtype(), packed, [&](auto element, auto width) -> std::function<void(Stream&)> {
    using T = decltype(element);
    const ChannelTiles tiles(args.x, width);
    const ChannelPartials partials{static_cast<float*>(args.workspace.raw()), tiles.channels};
    const ParameterGradients gradients{.gamma = device_pointer<float>(args.gamma),
                                       .rstd = device_pointer<float>(args.rstd),
                                       .dgamma = device_pointer<float>(args.dgamma),
                                       .dbeta = device_pointer<float>(args.dbeta),
                                       .accumulate = args.accumulate};
    const auto* const x = device_pointer<T>(args.x);
    const auto* const dy = device_pointer<T>(args.dy);
    auto* const dx = device_pointer<T>(args.dx);
    const auto* const mean = device_pointer<float>(args.mean);
    const auto* const valid = valid_pointer(args.valid_samples);
    return [=](Stream& stream) {
      launch<row_block_sums<T, width>>(stream, tiles.shape(), tiles, x, dy, valid, mean, partials);
      launch<totals_of_channels>(stream, totals_shape(tiles), tiles, valid, partials, gradients);
      launch<input_gradient<T, width>>(stream, tiles.shape(), tiles, x, dy, dx, valid, mean, partials);
    };
  });
}

std::int64_t workspace_bytes(const BatchNormBackward& args) { return ChannelPartials::size_bytes(args.x); }

}  // namespace batch_norm_backward_kernels

void add_batch_norm_backward_kernels(Backend& backend) {
  backend.add_kernel<BatchNormBackward>(
      cuda_kernel<BatchNormBackward>(batch_norm_backward_kernels::make_backward, batch_norm_backward_kernels::workspace_bytes),
      kSet);
}

}  // namespace minim::cuda
