#pragma once

#include <cstdint>

#include "minim/runtime/dtype.h"

namespace minim::cpu {

/// A row of `channels` elements of `dtype`, and its statistics.
struct NormRow {
  DType dtype = DType::fp32;
  std::int64_t channels = 0;
  const void* x = nullptr;
  float mean = 0;
  float rstd = 0;
};

/// Mean and variance of the row's x, whose `mean` and `rstd` do not matter.
struct RowMoments {
  float mean, variance;
};
RowMoments row_moments(const NormRow& row);

/// y = gamma * (x - mean) * rstd + beta. y may be x.
void normalize_row(const NormRow& row, const float* gamma, const float* beta, void* y);

/// The gradient of LayerNormBackwardData. dx may be dy.
void normalize_row_gradient(const NormRow& row, const float* gamma, const void* dy, void* dx);

/// sums[c] += dy and products[c] += dy * (x - mean) * rstd for every channel c.
void add_row_products(const NormRow& row, const void* dy, float* sums, float* products);

}  // namespace minim::cpu
