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
  static constexpr std::int64_t kMinThreadRows = 4;
  /// Blocks of threads at most. For sums: some for every multiprocessor, and few partial sums for the second stage.
  static constexpr std::int64_t kMaxSumBlocks = 1024;
  /// For what is computed of each element: more, since none has to wait for its last row.
  static constexpr std::int64_t kMaxElementBlocks = 2048;
  /// Threads side by side on a row at most: with 16 bytes each they read 512 in one go.
  static constexpr std::int64_t kMaxLanes = 32;

  ChannelTiles(const ConstTensorView& x, int width, std::int64_t most_blocks = kMaxSumBlocks) : channels(x.shape()[-1]) {
    if (channels == 0) return;
    samples = x.shape()[0];
    sample_rows = x.shape().elements_per_sample() / channels;
    const std::int64_t packs = std::max<std::int64_t>(channels / width, 1);
    chunks = static_cast<std::int32_t>((packs + kMaxLanes - 1) / kMaxLanes);
    lanes = static_cast<std::int32_t>((packs + chunks - 1) / chunks);
    slots = static_cast<std::int32_t>(std::bit_floor(static_cast<unsigned>(kThreads / lanes)));
    const std::int64_t most_row_blocks = std::max<std::int64_t>(most_blocks / chunks, 1);
    block_rows = std::max((rows() + most_row_blocks - 1) / most_row_blocks, kMinThreadRows * slots);
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

/// Calls `use(row, load(row))` for a thread's rows up to `row_end`, after the loads of `kRows` rows at a time: a thread that
/// waits for each leaves the memory idle.
template <int kRows, int kWidth, class Load, class Use>
__device__ void for_rows(const ChannelTiles& tiles, const TilePlace<kWidth>& place, std::int64_t row_end, Load load, Use use) {
  const std::int64_t step = tiles.slots;
  for (std::int64_t row = place.row_begin + place.slot; row < row_end; row += kRows * step) {
    decltype(load(row)) loaded[kRows] = {};
    for (int k = 0; k < kRows; ++k) {
      if (row + k * step < row_end) loaded[k] = load(row + k * step);
    }
    for (int k = 0; k < kRows; ++k) {
      if (row + k * step < row_end) use(row + k * step, loaded[k]);
    }
  }
}

/// Shared memory for sums of `kCount` values of each of `kBlockThreads` threads. Values of one kind lie side by side, so that the
/// threads of a warp use all banks.
template <class V, int kCount, int kBlockThreads>
using SlotSums = V[kCount][kBlockThreads];

/// Each of `values` becomes its sum over the slots of a block, thread `t` being lane t % lanes of slot t / lanes, for the threads
/// of slot 0. All threads call this; `of_thread` is theirs again after a __syncthreads().
template <class V, int kCount, int kBlockThreads>
__device__ void sum_slots(V (&values)[kCount], std::int32_t lanes, std::int32_t slots,
                          SlotSums<V, kCount, kBlockThreads>& of_thread) {
  const auto thread = static_cast<std::int32_t>(threadIdx.x);
  for (int k = 0; k < kCount; ++k) of_thread[k][thread] = values[k];
  for (std::int32_t half = slots / 2; half > 0; half /= 2) {
    __syncthreads();
    if (thread >= half * lanes) continue;
    for (int k = 0; k < kCount; ++k) of_thread[k][thread] += of_thread[k][thread + half * lanes];
  }
  for (int k = 0; k < kCount; ++k) values[k] = of_thread[k][thread];
}

/// `valid_samples` of a kernel as `ChannelTiles::valid_rows` takes it.
inline const std::int32_t* valid_pointer(const ConstTensorView& valid_samples) {
  return valid_samples.present() ? device_pointer<std::int32_t>(valid_samples) : nullptr;
}

/// The channels' coefficients of (x - mean) * scale + shift.
template <int kWidth>
struct Affine {
  __device__ Floats<kWidth> operator()(const Floats<kWidth>& x) const {
    Floats<kWidth> result;
    for (int k = 0; k < kWidth; ++k) result[k] = fmaf(x[k] - mean[k], scale[k], shift[k]);
    return result;
  }

  Floats<kWidth> mean, scale, shift;
};

/// Two values per channel for every block of rows, and three that the second stage makes of them.
struct ChannelPartials {
  /// Enough for x in packs and without, since that depends on addresses.
  static std::int64_t size_bytes(const ConstTensorView& x) {
    const int width = static_cast<int>(16 / minim::size_bytes(x.dtype()));
    const std::int64_t row_blocks = std::max(ChannelTiles(x, 1).row_blocks, ChannelTiles(x, width).row_blocks);
    return (2 * row_blocks + 3) * x.shape()[-1] * static_cast<std::int64_t>(sizeof(float));
  }

  __host__ __device__ float* first(std::int64_t row_block) const { return data + 2 * row_block * channels; }
  __host__ __device__ float* second(std::int64_t row_block) const { return first(row_block) + channels; }
  __host__ __device__ float* result(const ChannelTiles& tiles, int i) const { return first(tiles.row_blocks) + i * channels; }

  float* data;
  std::int64_t channels;
};

/// What ranks have told each other of their rows: two values per channel, and how many values of each channel these cover.
struct Contributions {
  /// `gathered`: [ranks, 2 C + 1].
  explicit Contributions(const ConstTensorView& gathered)
      : data(device_pointer<float>(gathered)), channels(gathered.shape()[1] / 2), ranks(static_cast<int>(gathered.shape()[0])) {}

  LaunchShape shape() const { return {.blocks = (channels + kThreads - 1) / kThreads, .threads = kThreads}; }

  __device__ double first(int rank, std::int64_t c) const { return static_cast<double>(of_rank(rank)[c]); }
  __device__ double second(int rank, std::int64_t c) const { return static_cast<double>(of_rank(rank)[channels + c]); }
  __device__ double count(int rank) const { return static_cast<double>(of_rank(rank)[2 * channels]); }
  __device__ double count() const {
    double sum = 0;
    for (int rank = 0; rank < ranks; ++rank) sum += count(rank);
    return sum;
  }
  __device__ const float* of_rank(int rank) const { return data + rank * (2 * channels + 1); }

  const float* data;
  std::int64_t channels;
  int ranks;
};

/// The second stage: a block of threads takes kTotalLanes channels, and each of its slots every so many-th partial of them. Its
/// blocks are few, so they are large where there are many partials.
inline constexpr int kTotalThreads = 1024;
inline constexpr std::int32_t kTotalLanes = 8;
inline constexpr std::int64_t kMinTotalSlots = 4, kMaxTotalSlots = kTotalThreads / kTotalLanes;

inline LaunchShape totals_shape(const ChannelTiles& tiles) {
  const std::int64_t slots = std::clamp(tiles.row_blocks, kMinTotalSlots, kMaxTotalSlots);
  return {.blocks = (tiles.channels + kTotalLanes - 1) / kTotalLanes,
          .threads = kTotalLanes * static_cast<int>(std::bit_ceil(static_cast<unsigned>(slots)))};
}
__device__ inline std::int32_t total_slots() { return static_cast<std::int32_t>(blockDim.x) / kTotalLanes; }

/// Sums over the slots of a block of the second stage, for the threads of slot 0. All threads call it.
template <int kCount>
__device__ void total_of_slots(double (&values)[kCount]) {
  __shared__ SlotSums<double, kCount, kTotalThreads> of_thread;
  sum_slots(values, kTotalLanes, total_slots(), of_thread);
}

}  // namespace minim::cuda
