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
    if (x.elements() == 0) return 0;
    const std::int64_t channels = x.shape()[-1];
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

/// What a rank tells the others: two values per channel, and how many values of each channel these cover. Of `rank` where they
/// have been gathered.
class Contribution {
 public:
  Contribution(const ConstTensorView& gathered, std::int64_t channels, std::int64_t rank)
      : data_(gathered.data<float>() + rank * (2 * channels + 1)), channels_(channels) {}

  double first(std::int64_t c) const { return data_[c]; }
  double second(std::int64_t c) const { return data_[channels_ + c]; }
  double count() const { return data_[2 * channels_]; }

 private:
  const float* data_;
  std::int64_t channels_;
};

/// Over the rows of all ranks.
double gathered_count(const ConstTensorView& gathered, std::int64_t channels) {
  double count = 0;
  for (std::int64_t rank = 0; rank < gathered.shape()[0]; ++rank) count += Contribution(gathered, channels, rank).count();
  return count;
}

struct Moments {
  double count = 0;
  double mean = 0;
  double squares = 0;  ///< sum of squared deviations from the mean
};

/// `part(i)`: the moments of some rows, of i = 0 .. parts - 1; together they have one row or more.
/// Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
template <class Part>
Moments combine_moments(std::int64_t parts, const Part& part) {
  Moments all;
  for (std::int64_t i = 0; i < parts; ++i) {
    const Moments of_part = part(i);
    all.count += of_part.count;
    all.mean += of_part.count * of_part.mean;
  }
  all.mean /= all.count;
  for (std::int64_t i = 0; i < parts; ++i) {
    const Moments of_part = part(i);
    const double offset = of_part.mean - all.mean;
    all.squares += of_part.squares + of_part.count * offset * offset;
  }
  if (all.squares < 0) all.squares = 0;  // rounding in a block of equal values; NaN stays
  return all;
}

void measure_blocks(const Matrix& matrix, const void* x, const Partials& partials) {
  matrix.for_blocks([&](std::int64_t b, const ChannelBlock& block) {
    channel_moments(matrix.dtype, x, block, partials.first(b), partials.second(b));
  });
}

Moments moments_of_blocks(const Matrix& matrix, const Partials& partials, std::int64_t c) {
  return combine_moments(matrix.blocks(), [&](std::int64_t b) {
    return Moments{static_cast<double>(matrix.block_rows(b)), partials.first(b)[c], partials.second(b)[c]};
  });
}

Moments moments_of_ranks(const ConstTensorView& gathered, std::int64_t channels, std::int64_t c) {
  return combine_moments(gathered.shape()[0], [&](std::int64_t rank) {
    const Contribution of_rank(gathered, channels, rank);
    return Moments{of_rank.count(), of_rank.first(c), of_rank.second(c)};
  });
}

void write_statistics(const BatchNormForward& args, const Moments& moments, std::int64_t c) {
  args.mean.data<float>()[c] = static_cast<float>(moments.mean);
  args.rstd.data<float>()[c] = static_cast<float>(1 / std::sqrt(moments.squares / moments.count + args.epsilon));
  const auto update = [&](const TensorView& running, double batch) {
    if (!running.present()) return;
    float& value = running.data<float>()[c];
    value = static_cast<float>((1 - args.momentum) * value + args.momentum * batch);
  };
  update(args.running_mean, moments.mean);
  update(args.running_variance, moments.squares / std::max(moments.count - 1, 1.0));
}

void run_moments(const BatchNormMoments& args) {
  const Matrix matrix(args.x, args.valid_samples);
  auto* const moments = args.moments.data<float>();
  moments[2 * matrix.channels] = static_cast<float>(matrix.valid_rows);
  if (matrix.valid_rows == 0) {
    std::fill_n(moments, 2 * matrix.channels, 0.0F);
    return;
  }
  const Partials partials(args.workspace, matrix);
  measure_blocks(matrix, args.x.raw(), partials);
  for_channels(matrix, [&](std::int64_t c) {
    const Moments of_channel = moments_of_blocks(matrix, partials, c);
    moments[c] = static_cast<float>(of_channel.mean);
    moments[matrix.channels + c] = static_cast<float>(of_channel.squares);
  });
}

void run_forward(const BatchNormForward& args) {
  const Matrix matrix(args.x, args.valid_samples);
  matrix.clear_padding(args.y.raw());
  const Partials partials(args.workspace, matrix);
  if (args.moments.present()) {
    if (gathered_count(args.moments, matrix.channels) == 0) return;
    for_channels(matrix, [&](std::int64_t c) { write_statistics(args, moments_of_ranks(args.moments, matrix.channels, c), c); });
  } else if (matrix.valid_rows > 0) {
    measure_blocks(matrix, args.x.raw(), partials);
    for_channels(matrix, [&](std::int64_t c) { write_statistics(args, moments_of_blocks(matrix, partials, c), c); });
  }
  if (matrix.valid_rows == 0) return;
  float* const scale = partials.first_total();
  for (std::int64_t c = 0; c < matrix.channels; ++c) scale[c] = args.gamma.data<float>()[c] * args.rstd.data<float>()[c];
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

/// gamma rstd as in forward, where the totals will be.
template <class Args>
ChannelAffine forward_affine(const Args& args, const Partials& partials, std::int64_t channels) {
  for (std::int64_t c = 0; c < channels; ++c) {
    partials.first_total()[c] = args.gamma.template data<float>()[c] * args.rstd.template data<float>()[c];
  }
  return {args.mean.template data<float>(), partials.first_total(), args.beta.template data<float>()};
}

/// Of dy and of dy (x - mean): over all rows of `matrix`, left where the totals are, and from there into dgamma and dbeta.
/// `Args` is BatchNormBackward or BatchNormSums.
template <class Args>
void sum_gradients(const Args& args, const Matrix& matrix, const Partials& partials) {
  const ChannelAffine forward = forward_affine(args, partials, matrix.channels);
  matrix.for_blocks([&](std::int64_t b, const ChannelBlock& block) {
    channel_gradient_sums(matrix.dtype, args.x.raw(), args.dy.raw(), block, forward, args.activation, partials.first(b),
                          partials.second(b));
  });
  for_channels(matrix, [&](std::int64_t c) {
    double sum = 0;
    double product = 0;
    for (std::int64_t b = 0; b < matrix.blocks(); ++b) {
      sum += partials.first(b)[c];
      product += partials.second(b)[c];
    }
    partials.first_total()[c] = static_cast<float>(sum);
    partials.second_total()[c] = static_cast<float>(product);
    float& dgamma = args.dgamma.template data<float>()[c];
    float& dbeta = args.dbeta.template data<float>()[c];
    const double old_dgamma = args.accumulate ? dgamma : 0.0F;
    const double old_dbeta = args.accumulate ? dbeta : 0.0F;
    dgamma = static_cast<float>(old_dgamma + product * args.rstd.template data<float>()[c]);
    dbeta = static_cast<float>(old_dbeta + sum);
  });
}

template <class Args>
void clear_parameter_gradients(const Args& args, std::int64_t channels) {
  if (args.accumulate) return;
  std::fill_n(args.dgamma.template data<float>(), channels, 0.0F);
  std::fill_n(args.dbeta.template data<float>(), channels, 0.0F);
}

void run_sums(const BatchNormSums& args) {
  const Matrix matrix(args.x, args.valid_samples);
  auto* const sums = args.sums.data<float>();
  sums[2 * matrix.channels] = static_cast<float>(matrix.valid_rows);
  if (matrix.valid_rows == 0) {
    std::fill_n(sums, 2 * matrix.channels, 0.0F);
    return clear_parameter_gradients(args, matrix.channels);
  }
  const Partials partials(args.workspace, matrix);
  sum_gradients(args, matrix, partials);
  std::copy_n(partials.first_total(), matrix.channels, sums);
  std::copy_n(partials.second_total(), matrix.channels, sums + matrix.channels);
}

/// The sums of all ranks, where the totals are. How many rows they cover.
double add_ranks(const ConstTensorView& gathered, const Partials& partials, std::int64_t channels) {
  for (std::int64_t c = 0; c < channels; ++c) {
    double sum = 0;
    double product = 0;
    for (std::int64_t rank = 0; rank < gathered.shape()[0]; ++rank) {
      const Contribution of_rank(gathered, channels, rank);
      sum += of_rank.first(c);
      product += of_rank.second(c);
    }
    partials.first_total()[c] = static_cast<float>(sum);
    partials.second_total()[c] = static_cast<float>(product);
  }
  return gathered_count(gathered, channels);
}

void run_backward(const BatchNormBackward& args) {
  const Matrix matrix(args.x, args.valid_samples);
  matrix.clear_padding(args.dx.raw());
  const bool of_ranks = args.sums.present();
  if (matrix.valid_rows == 0) {
    if (!of_ranks) clear_parameter_gradients(args, matrix.channels);
    return;
  }
  const Partials partials(args.workspace, matrix);
  auto rows = static_cast<double>(matrix.valid_rows);
  if (of_ranks) {
    rows = add_ranks(args.sums, partials, matrix.channels);
  } else {
    sum_gradients(args, matrix, partials);
  }
  const auto* mean = args.mean.data<float>();
  const auto* rstd = args.rstd.data<float>();
  const auto* gamma = args.gamma.data<float>();
  // dx = gamma rstd (dy - sum / n - (x - mean) rstd^2 product / n); the blocks' sums are spent and give room to the coefficients.
  float* const scale = partials.first(0);
  float* const slope = partials.second_total();
  float* const shift = partials.first_total();
  for_channels(matrix, [&](std::int64_t c) {
    const double factor = static_cast<double>(gamma[c]) * rstd[c];
    scale[c] = static_cast<float>(factor);
    slope[c] = static_cast<float>(-factor * rstd[c] * rstd[c] * slope[c] / rows);
    shift[c] = static_cast<float>(-factor * shift[c] / rows);
  });
  matrix.for_blocks([&](std::int64_t /*b*/, const ChannelBlock& block) {
    channel_gradient(matrix.dtype, args.x.raw(), args.dy.raw(), args.dx.raw(), block, {mean, scale, args.beta.data<float>()},
                     args.activation, slope, shift);
  });
}

/// Of all kernels that cut x into blocks.
template <class Args>
std::int64_t workspace_bytes(const Args& args) {
  return Partials::size_bytes(args.x);
}

}  // namespace

void add_batch_norm_kernels(Backend& backend) {
  backend.add_kernel<BatchNormMoments>(host_kernel<BatchNormMoments>(run_moments, workspace_bytes<BatchNormMoments>), kSet);
  backend.add_kernel<BatchNormForward>(host_kernel<BatchNormForward>(run_forward, workspace_bytes<BatchNormForward>), kSet);
  backend.add_kernel<BatchNormInference>(host_kernel<BatchNormInference>(run_inference), kSet);
  backend.add_kernel<BatchNormSums>(host_kernel<BatchNormSums>(run_sums, workspace_bytes<BatchNormSums>), kSet);
  backend.add_kernel<BatchNormBackward>(host_kernel<BatchNormBackward>(run_backward, workspace_bytes<BatchNormBackward>), kSet);
}

}  // namespace minim::cpu
