#include <algorithm>
#include <cmath>
#include <cstring>

#include "cpu/channel_loops.h"
#include "cpu/parallel.h"
#include "cpu/vector_kernels.h"
#include "minim/runtime/kernels/batch_norm.h"

namespace minim::cpu {
namespace {

/// Rows whose sums are FP32; sums over blocks are FP64. The blocks depend on the shape alone, and so do the sums' bits.
constexpr std::int64_t kBlockRows = 256;
/// Channels handled together: their FP32 sums and coefficients stay in the L1 cache, or on the stack.
constexpr std::int64_t kChunkChannels = 512;

/// x as a matrix [rows, channels] of which the first rows are valid, the rest is padding.
struct Matrix {
  Matrix(const ConstTensorView& x, const ConstTensorView& valid_samples) : dtype(x.dtype()), channels(x.shape()[-1]) {
    if (x.elements() == 0) return;
    rows = x.elements() / channels;
    const std::int64_t samples = x.shape()[0];
    const std::int64_t valid = valid_samples.present() ? *valid_samples.data<std::int32_t>() : samples;
    valid_rows = std::clamp<std::int64_t>(valid, 0, samples) * (rows / samples);
  }
  explicit Matrix(const ConstTensorView& x) : Matrix(x, {}) {}

  std::int64_t blocks() const { return (valid_rows + kBlockRows - 1) / kBlockRows; }
  std::int64_t block_rows(std::int64_t block) const { return std::min(kBlockRows, valid_rows - block * kBlockRows); }

  /// Calls `f(block index, ChannelBlock)` for all valid rows, in parallel over blocks of rows.
  template <class F>
  void for_blocks(const F& f) const {
    const std::int64_t grain = kElementsPerThread / std::max<std::int64_t>(kBlockRows * channels, 1) + 1;
    parallel_for(blocks(), grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t b = begin; b < end; ++b) {
        const std::int64_t row = b * kBlockRows;
        for (std::int64_t c = 0; c < channels; c += kChunkChannels) {
          f(b, ChannelBlock{row, row + block_rows(b), c, std::min(c + kChunkChannels, channels), channels});
        }
      }
    });
  }

  void clear_padding(void* data) const {
    const std::int64_t row_bytes = channels * size_bytes(dtype);
    const std::int64_t padding_bytes = (rows - valid_rows) * row_bytes;
    if (padding_bytes == 0) return;
    std::memset(static_cast<std::byte*>(data) + valid_rows * row_bytes, 0, static_cast<std::size_t>(padding_bytes));
  }

  DType dtype;
  std::int64_t rows = 0;
  std::int64_t valid_rows = 0;
  std::int64_t channels;
};

/// Two values per channel for every block, and two for all blocks together.
class Partials {
 public:
  static std::int64_t size_bytes(const ConstTensorView& x) {
    const std::int64_t channels = x.shape()[-1];
    if (x.elements() == 0) return 0;
    const std::int64_t blocks = (x.elements() / channels + kBlockRows - 1) / kBlockRows;
    return (blocks + 1) * 2 * channels * static_cast<std::int64_t>(sizeof(float));
  }

  Partials(const TensorView& workspace, const Matrix& matrix)
      : data_(static_cast<float*>(workspace.raw())), blocks_(matrix.blocks()), channels_(matrix.channels) {}

  float* first(std::int64_t block) const { return data_ + 2 * block * channels_; }
  float* second(std::int64_t block) const { return first(block) + channels_; }
  float* first_total() const { return first(blocks_); }
  float* second_total() const { return second(blocks_); }

 private:
  float* data_;
  std::int64_t blocks_;
  std::int64_t channels_;
};

/// Calls `f(c)` for all channels, in parallel where there is work for it.
template <class F>
void for_channels(const Matrix& matrix, const F& f) {
  const std::int64_t grain = kElementsPerThread / std::max<std::int64_t>(matrix.blocks(), 1) + 1;
  parallel_for(matrix.channels, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t c = begin; c < end; ++c) f(c);
  });
}

struct Moments {
  double mean = 0;
  double squares = 0;  ///< sum of squared deviations from the mean
};

/// Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
Moments combine_moments(const Matrix& matrix, const Partials& partials, std::int64_t c) {
  Moments all;
  for (std::int64_t b = 0; b < matrix.blocks(); ++b) all.mean += static_cast<double>(matrix.block_rows(b)) * partials.first(b)[c];
  all.mean /= static_cast<double>(matrix.valid_rows);
  for (std::int64_t b = 0; b < matrix.blocks(); ++b) {
    const double offset = partials.first(b)[c] - all.mean;
    all.squares += partials.second(b)[c] + static_cast<double>(matrix.block_rows(b)) * offset * offset;
  }
  if (all.squares < 0) all.squares = 0;  // rounding in a block of equal values; NaN stays
  return all;
}

void write_statistics(const BatchNormForward& args, const Matrix& matrix, const Moments& moments, std::int64_t c) {
  const auto count = static_cast<double>(matrix.valid_rows);
  args.mean.data<float>()[c] = static_cast<float>(moments.mean);
  args.rstd.data<float>()[c] = static_cast<float>(1 / std::sqrt(moments.squares / count + args.epsilon));
  const auto update = [&](const TensorView& running, double batch) {
    if (!running.present()) return;
    float& value = running.data<float>()[c];
    value = static_cast<float>((1 - args.momentum) * value + args.momentum * batch);
  };
  update(args.running_mean, moments.mean);
  update(args.running_variance, moments.squares / std::max(count - 1, 1.0));
}

void run_forward(const BatchNormForward& args) {
  const Matrix matrix(args.x, args.valid_samples);
  matrix.clear_padding(args.y.raw());
  if (matrix.valid_rows == 0) return;
  const Partials partials(args.workspace, matrix);
  matrix.for_blocks([&](std::int64_t b, const ChannelBlock& block) {
    channel_moments(matrix.dtype, args.x.raw(), block, partials.first(b), partials.second(b));
  });
  float* const scale = partials.first_total();
  for_channels(matrix, [&](std::int64_t c) {
    write_statistics(args, matrix, combine_moments(matrix, partials, c), c);
    scale[c] = args.gamma.data<float>()[c] * args.rstd.data<float>()[c];
  });
  matrix.for_blocks([&](std::int64_t /*b*/, const ChannelBlock& block) {
    channel_affine(matrix.dtype, args.x.raw(), args.addend.raw(), args.y.raw(), block,
                   {args.mean.data<float>(), scale, args.beta.data<float>()}, args.activation);
  });
}

void run_inference(const BatchNormInference& args) {
  const Matrix matrix(args.x);
  const auto* gamma = args.gamma.data<float>();
  const auto* variance = args.variance.data<float>();
  const auto* x = static_cast<const std::byte*>(args.x.raw());
  const auto* addend = static_cast<const std::byte*>(args.addend.raw());
  auto* y = static_cast<std::byte*>(args.y.raw());
  matrix.for_blocks([&](std::int64_t /*b*/, ChannelBlock block) {
    // There is no workspace: a block of rows computes its own coefficients, which costs little beside its rows.
    alignas(64) float scale[kChunkChannels];
    const std::int64_t begin = block.channel_begin;
    for (std::int64_t c = begin; c < block.channel_end; ++c) {
      scale[c - begin] = static_cast<float>(gamma[c] / std::sqrt(variance[c] + args.epsilon));
    }
    block.channel_begin = 0;
    block.channel_end -= begin;
    const std::int64_t offset_bytes = begin * size_bytes(matrix.dtype);
    channel_affine(matrix.dtype, x + offset_bytes, addend != nullptr ? addend + offset_bytes : nullptr, y + offset_bytes, block,
                   {args.mean.data<float>() + begin, scale, args.beta.data<float>() + begin}, args.activation);
  });
}

/// Sums the blocks' partial sums into the totals, and those into dgamma and dbeta.
void combine_gradients(const BatchNormBackward& args, const Matrix& matrix, const Partials& partials) {
  for_channels(matrix, [&](std::int64_t c) {
    double sum = 0;
    double product = 0;
    for (std::int64_t b = 0; b < matrix.blocks(); ++b) {
      sum += partials.first(b)[c];
      product += partials.second(b)[c];
    }
    partials.first_total()[c] = static_cast<float>(sum);
    partials.second_total()[c] = static_cast<float>(product);
    float& dgamma = args.dgamma.data<float>()[c];
    float& dbeta = args.dbeta.data<float>()[c];
    const double old_dgamma = args.accumulate ? dgamma : 0.0F;
    const double old_dbeta = args.accumulate ? dbeta : 0.0F;
    dgamma = static_cast<float>(old_dgamma + product * args.rstd.data<float>()[c]);
    dbeta = static_cast<float>(old_dbeta + sum);
  });
}

void clear_parameter_gradients(const BatchNormBackward& args, std::int64_t channels) {
  if (args.accumulate) return;
  std::fill_n(args.dgamma.data<float>(), channels, 0.0F);
  std::fill_n(args.dbeta.data<float>(), channels, 0.0F);
}

void run_backward(const BatchNormBackward& args) {
  const Matrix matrix(args.x, args.valid_samples);
  matrix.clear_padding(args.dx.raw());
  if (matrix.valid_rows == 0) return clear_parameter_gradients(args, matrix.channels);
  const Partials partials(args.workspace, matrix);
  const auto* mean = args.mean.data<float>();
  const auto* rstd = args.rstd.data<float>();
  const auto* gamma = args.gamma.data<float>();
  // gamma rstd as in forward, where the totals will be.
  const ChannelAffine forward{mean, partials.first_total(), args.beta.data<float>()};
  for (std::int64_t c = 0; c < matrix.channels; ++c) partials.first_total()[c] = gamma[c] * rstd[c];
  matrix.for_blocks([&](std::int64_t b, const ChannelBlock& block) {
    channel_gradient_sums(matrix.dtype, args.x.raw(), args.dy.raw(), block, forward, args.activation, partials.first(b),
                          partials.second(b));
  });
  combine_gradients(args, matrix, partials);
  // dx = gamma rstd (dy - sum / n - (x - mean) rstd^2 product / n); the blocks' sums are spent and give room to the coefficients.
  float* const scale = partials.first(0);
  float* const slope = partials.second_total();
  float* const shift = partials.first_total();
  for_channels(matrix, [&](std::int64_t c) {
    const double factor = static_cast<double>(gamma[c]) * rstd[c];
    const double rows = static_cast<double>(matrix.valid_rows);
    scale[c] = static_cast<float>(factor);
    slope[c] = static_cast<float>(-factor * rstd[c] * rstd[c] * slope[c] / rows);
    shift[c] = static_cast<float>(-factor * shift[c] / rows);
  });
  matrix.for_blocks([&](std::int64_t /*b*/, const ChannelBlock& block) {
    channel_gradient(matrix.dtype, args.x.raw(), args.dy.raw(), args.dx.raw(), block, {mean, scale, forward.shift},
                     args.activation, slope, shift);
  });
}

}  // namespace

void add_batch_norm_kernels(Backend& backend) {
  backend.add_kernel<BatchNormForward>(
      host_kernel<BatchNormForward>(run_forward, [](const BatchNormForward& args) { return Partials::size_bytes(args.x); }),
      kSet);
  backend.add_kernel<BatchNormInference>(host_kernel<BatchNormInference>(run_inference), kSet);
  backend.add_kernel<BatchNormBackward>(
      host_kernel<BatchNormBackward>(run_backward, [](const BatchNormBackward& args) { return Partials::size_bytes(args.x); }),
      kSet);
}

}  // namespace minim::cpu
