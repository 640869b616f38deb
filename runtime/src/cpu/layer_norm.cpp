#include "minim/runtime/kernels/layer_norm.h"

#include <algorithm>
#include <cmath>

#include "cpu/parallel.h"
#include "cpu/row_loops.h"
#include "cpu/vector_kernels.h"

namespace minim::cpu {
namespace {

/// Rows whose products are summed in FP32; sums over blocks are FP64. The blocks depend on the shape alone, and so do the bits.
constexpr std::int64_t kBlockRows = 64;

/// x as rows of its last dimension.
struct Rows {
  explicit Rows(const ConstTensorView& of_x)
      : x(of_x), channels(of_x.shape()[-1]), count(of_x.elements() == 0 ? 0 : of_x.elements() / channels) {}

  NormRow row(std::int64_t r) const { return {.dtype = x.dtype(), .channels = channels, .x = at(x.raw(), r)}; }
  NormRow row(std::int64_t r, const ConstTensorView& mean, const ConstTensorView& rstd) const {
    NormRow result = row(r);
    result.mean = mean.data<float>()[r];
    result.rstd = rstd.data<float>()[r];
    return result;
  }
  /// Row `r` of a tensor like x.
  const void* at(const void* data, std::int64_t r) const { return static_cast<const std::byte*>(data) + offset_bytes(r); }
  void* at(void* data, std::int64_t r) const { return static_cast<std::byte*>(data) + offset_bytes(r); }
  std::int64_t offset_bytes(std::int64_t r) const { return r * channels * size_bytes(x.dtype()); }

  /// Calls `f(r)` for all rows, in parallel.
  template <class F>
  void for_each(const F& f) const {
    parallel_for(count, kElementsPerThread / std::max<std::int64_t>(channels, 1) + 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) f(r);
    });
  }
  std::int64_t blocks() const { return (count + kBlockRows - 1) / kBlockRows; }

  ConstTensorView x;
  std::int64_t channels;
  std::int64_t count;
};

void run_forward(const LayerNormForward& args) {
  const Rows rows(args.x);
  rows.for_each([&](std::int64_t r) {
    NormRow row = rows.row(r);
    const RowMoments moments = row_moments(row);
    row.mean = moments.mean;
    row.rstd = static_cast<float>(1 / std::sqrt(moments.variance + args.epsilon));
    args.mean.data<float>()[r] = row.mean;
    args.rstd.data<float>()[r] = row.rstd;
    normalize_row(row, args.gamma.data<float>(), args.beta.data<float>(), rows.at(args.y.raw(), r));
  });
}

void run_backward_data(const LayerNormBackwardData& args) {
  const Rows rows(args.x);
  rows.for_each([&](std::int64_t r) {
    normalize_row_gradient(rows.row(r, args.mean, args.rstd), args.gamma.data<float>(), rows.at(args.dy.raw(), r),
                           rows.at(args.dx.raw(), r));
  });
}

void run_backward_weights(const LayerNormBackwardWeights& args) {
  const Rows rows(args.x);
  const std::int64_t channels = rows.channels;
  auto* const partials = static_cast<float*>(args.workspace.raw());  // of each block: the sums of all channels, then the products
  parallel_for(rows.blocks(), kElementsPerThread / (kBlockRows * channels) + 1, [&](std::int64_t begin, std::int64_t end) {
    std::fill(partials + 2 * begin * channels, partials + 2 * end * channels, 0.0F);
    for (std::int64_t r = begin * kBlockRows; r < std::min(end * kBlockRows, rows.count); ++r) {
      float* const sums = partials + 2 * (r / kBlockRows) * channels;
      add_row_products(rows.row(r, args.mean, args.rstd), rows.at(args.dy.raw(), r), sums, sums + channels);
    }
  });
  parallel_for(channels, kElementsPerThread / std::max<std::int64_t>(rows.blocks(), 1) + 1,
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t c = begin; c < end; ++c) {
                   float& dgamma = args.dgamma.data<float>()[c];
                   float& dbeta = args.dbeta.data<float>()[c];
                   double sum = args.accumulate ? dbeta : 0.0F, product = args.accumulate ? dgamma : 0.0F;
                   for (std::int64_t b = 0; b < rows.blocks(); ++b) {
                     sum += partials[2 * b * channels + c];
                     product += partials[(2 * b + 1) * channels + c];
                   }
                   dbeta = static_cast<float>(sum);
                   dgamma = static_cast<float>(product);
                 }
               });
}

std::int64_t workspace_bytes(const LayerNormBackwardWeights& args) {
  const Rows rows(args.x);
  return 2 * rows.blocks() * rows.channels * static_cast<std::int64_t>(sizeof(float));
}

}  // namespace

void add_layer_norm_kernels(Backend& backend) {
  backend.add_kernel<LayerNormForward>(host_kernel<LayerNormForward>(run_forward), kSet);
  backend.add_kernel<LayerNormBackwardData>(host_kernel<LayerNormBackwardData>(run_backward_data), kSet);
  backend.add_kernel<LayerNormBackwardWeights>(host_kernel<LayerNormBackwardWeights>(run_backward_weights, workspace_bytes),
                                               kSet);
}

}  // namespace minim::cpu
