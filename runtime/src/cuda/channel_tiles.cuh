#pragma once

#include <algorithm>
#include <bit>

#include "cuda/floats.cuh"
#include "cuda/launch.h"

/// Sums over all but the channel dimension, in two stages of fixed order.
namespace minim::cuda {

/// x as a matrix [rows, channels], channels innermost, of which the rows of valid samples count and the rest is padding. It is
/// cut into blocks of rows and chunks of channels; a block of threads takes one of each. A thread takes `width` neighbouring
/// channels and every `slots`-th row. How it is cut depends on the shape alone.
struct ChannelTiles {
  /// Rows of a thread at least.
  static constexpr std::int64_t kMinThreadRows = 8;
  /// Blocks of rows at most: what the second stage adds up.
  static constexpr std::int64_t kMaxRowBlocks = 2048;
  /// Threads side by side on a row at most: with 16 bytes each they read 512 in one go.
  static constexpr std::int64_t kMaxLanes = 32;

  ChannelTiles(const ConstTensorView& x, int width) : channels(x.shape()[-1]) {
    if (channels == 0) return;
    samples = x.shape()[0];
    sample_rows = x.shape().elements_per_sample() / channels;
    const std::int64_t packs = std::max<std::int64_t>(channels / width, 1);
    chunks = static_cast<std::int32_t>((packs + kMaxLanes - 1) / kMaxLanes);
    lanes = static_cast<std::int32_t>((packs + chunks - 1) / chunks);
    slots = static_cast<std::int32_t>(std::bit_floor(static_cast<unsigned>(kThreads / lanes)));
    block_rows = std::max((rows() + kMaxRowBlocks - 1) / kMaxRowBlocks, kMinThreadRows * slots);
    row_blocks = (rows() + block_rows - 1) / block_rows;
  }

  __host__ __device__ std::int64_t rows() const { return samples * sample_rows; }
  LaunchShape shape() const { return {.blocks = row_blocks * chunks, .threads = kThreads}; }

  /// `valid_samples` may be null: all.
  __device__ std::int64_t valid_rows(const std::int32_t* valid_samples) const {
    if (valid_samples == nullptr) return rows();
    const std::int64_t valid = *valid_samples;
    return (valid < 0 ? 0 : valid < samples ? valid : samples) * sample_rows;
  }

  /// The blocks that hold the first `valid` rows, and how many of these rows block `b` of them has.
  __device__ std::int64_t blocks_of(std::int64_t valid) const { return (valid + block_rows - 1) / block_rows; }
  __device__ std::int64_t rows_of(std::int64_t b, std::int64_t valid) const {
    const std::int64_t rest = valid - b * block_rows;
    return rest < block_rows ? rest : block_rows;
  }

  std::int64_t channels = 0;
  std::int64_t samples = 0;
  std::int64_t sample_rows = 0;
  std::int64_t block_rows = 0;
  std::int64_t row_blocks = 0;
  std::int32_t chunks = 0;
  std::int32_t lanes = 0;  ///< threads side by side on a row
  std::int32_t slots = 0;  ///< rows side by side, a power of two
};

/// What a thread works on.
template <int kWidth>
struct TilePlace {
  __device__ explicit TilePlace(const ChannelTiles& tiles) {
    const auto thread = static_cast<std::int32_t>(threadIdx.x);
    row_block = blockIdx.x / static_cast<unsigned>(tiles.chunks);
    const auto chunk = static_cast<std::int32_t>(blockIdx.x % static_cast<unsigned>(tiles.chunks));
    slot = thread / tiles.lanes;
    chunk_channel = static_cast<std::int64_t>(chunk) * tiles.lanes * kWidth;
    channel = chunk_channel + thread % tiles.lanes * kWidth;
    row_begin = row_block * tiles.block_rows;
    active = slot < tiles.slots && channel < tiles.channels;
  }
  /// The end of the block's rows, at most `end`.
  __device__ std::int64_t row_end(const ChannelTiles& tiles, std::int64_t end) const {
    return row_begin + tiles.block_rows < end ? row_begin + tiles.block_rows : end;
  }

  std::int64_t row_block;
  std::int64_t row_begin;
  std::int64_t chunk_channel;  ///< the first of the block
  std::int64_t channel;        ///< the first of the thread
  std::int32_t slot;
  bool active;  ///< false for threads that only take part in sums
};

/// The sum of `value` over the slots of a block, thread `t` being lane t % lanes of slot t / lanes, for the threads of slot 0.
/// `of_thread` is shared memory for all threads, which all call this; it is theirs again after a __syncthreads().
template <class V>
__device__ V sum_slots(V value, std::int32_t lanes, std::int32_t slots, V* of_thread) {
  const auto thread = static_cast<std::int32_t>(threadIdx.x);
  of_thread[thread] = value;
  for (std::int32_t half = slots / 2; half > 0; half /= 2) {
    __syncthreads();
    if (thread < half * lanes) of_thread[thread] += of_thread[thread + half * lanes];
  }
  return of_thread[thread];
}

/// `valid_samples` of a kernel as `ChannelTiles::valid_rows` takes it.
inline const std::int32_t* valid_pointer(const ConstTensorView& valid_samples) {
  return valid_samples.present() ? device_pointer<std::int32_t>(valid_samples) : nullptr;
}

/// Two values per channel for every block of rows, and three that the second stage makes of them.
struct ChannelPartials {
  /// Enough for x in packs and without, since that depends on addresses.
  static std::int64_t size_bytes(const ConstTensorView& x) {
    const int width = static_cast<int>(16 / minim::size_bytes(x.dtype()));
    const std::int64_t row_blocks = std::max(ChannelTiles(x, 1).row_blocks, ChannelTiles(x, width).row_blocks);
    return (2 * row_blocks + 3) * x.shape()[-1] * static_cast<std::int64_t>(sizeof(float));
  }

  __device__ float* first(std::int64_t row_block) const { return data + 2 * row_block * channels; }
  __device__ float* second(std::int64_t row_block) const { return first(row_block) + channels; }
  __device__ float* result(const ChannelTiles& tiles, int i) const { return first(tiles.row_blocks) + i * channels; }

  float* data;
  std::int64_t channels;
};

/// The second stage: a block of threads takes kTotalLanes channels, and every kTotalSlots-th partial of each.
inline constexpr std::int32_t kTotalLanes = 8;
inline constexpr std::int32_t kTotalSlots = kThreads / kTotalLanes;

inline LaunchShape totals_shape(const ChannelTiles& tiles) {
  return {.blocks = (tiles.channels + kTotalLanes - 1) / kTotalLanes, .threads = kThreads};
}

/// Sum over the kTotalSlots slots of a block, for all threads. All threads call it.
__device__ inline double total_of_slots(double value, double* of_thread) {
  sum_slots(value, kTotalLanes, kTotalSlots, of_thread);
  __syncthreads();
  const double total = of_thread[threadIdx.x % kTotalLanes];
  __syncthreads();  // before another call writes
  return total;
}

}  // namespace minim::cuda
