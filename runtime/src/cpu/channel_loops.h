#pragma once

#include <cstdint>

#include "minim/runtime/dtype.h"
#include "minim/runtime/kernels/activation.h"

namespace minim::cpu {

/// Rows [row_begin, row_end) and channels [channel_begin, channel_end) of a matrix [rows, channels], channels innermost.
/// The functions below index arrays of one value per channel by channel, not by position in the block.
struct ChannelBlock {
  std::int64_t row_begin = 0;
  std::int64_t row_end = 0;
  std::int64_t channel_begin = 0;
  std::int64_t channel_end = 0;
  std::int64_t channels = 0;

  std::int64_t rows() const { return row_end - row_begin; }
};

/// sums[c] = sum of x over the block's rows.
void channel_sums(DType dtype, const void* x, const ChannelBlock& block, float* sums);

/// mean[c] and squares[c] = sum of (x - mean[c])^2 over the block's rows, at least one.
/// Sums the deviations from the block's first row, so that a mean far from 0 does not cancel the variance: with n rows the first
/// row's own deviation bounds the cancellation by a factor of n + 1, whatever the data.
void channel_moments(DType dtype, const void* x, const ChannelBlock& block, float* mean, float* squares);

/// (x - mean) * scale + shift.
struct ChannelAffine {
  const float* mean;
  const float* scale;
  const float* shift;
};

/// y = activation(affine of x + addend), without addend where that is null.
void channel_affine(DType dtype, const void* x, const void* addend, void* y, const ChannelBlock& block,
                    const ChannelAffine& affine, Activation activation);

// With an activation the functions below count dy where y = activation(affine of x), rounded to `dtype`, is positive.

/// sums[c] = sum of dy, products[c] = sum of dy (x - affine.mean) over the block's rows.
void channel_gradient_sums(DType dtype, const void* x, const void* dy, const ChannelBlock& block, const ChannelAffine& affine,
                           Activation activation, float* sums, float* products);

/// dx = dy * affine.scale + (x - affine.mean) * slope + shift. dx may be dy.
void channel_gradient(DType dtype, const void* x, const void* dy, void* dx, const ChannelBlock& block,
                      const ChannelAffine& affine, Activation activation, const float* slope, const float* shift);

}  // namespace minim::cpu
