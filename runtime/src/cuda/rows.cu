#include "cuda/rows.h"

#include "cuda/channel_tiles.cuh"
#include "cuda/check.h"
#include "cuda/cuda_stream.h"

namespace minim::cuda {
namespace row_kernels {

/// The sums of each block of rows, [row blocks, channels].
template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads) sum_row_blocks(ChannelTiles tiles, const T* rows, float* of_block) {
  __shared__ SlotSums<float, kWidth, kThreads> of_thread;
  const TilePlace<kWidth> place(tiles);
  Floats<kWidth> sum{};
  if (place.active) {
    const std::int64_t row_end = place.row_end(tiles, tiles.rows());
    const auto load = [&](std::int64_t row) { return load_pack<kWidth>(rows + row * tiles.channels + place.channel); };
    for_rows<4>(tiles, place, row_end, load, [&](std::int64_t, const Pack<T, kWidth>& pack) { sum += to_floats(pack); });
  }
  sum_slots(sum.values, tiles.lanes, tiles.slots, of_thread);
  if (place.active && place.slot == 0) store_floats(of_block + place.row_block * tiles.channels + place.channel, sum);
}

template <class T>
__global__ void __launch_bounds__(kTotalThreads) sum_blocks(ChannelTiles tiles, const float* of_block, T* out, bool accumulate) {
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * kTotalLanes + threadIdx.x % kTotalLanes;
  const std::int64_t slot = threadIdx.x / kTotalLanes;
  double sums[1] = {};
  for (std::int64_t b = slot; b < tiles.row_blocks && c < tiles.channels; b += total_slots()) {
    sums[0] += static_cast<double>(of_block[b * tiles.channels + c]);
  }
  total_of_slots(sums);
  if (slot != 0 || c >= tiles.channels) return;
  if (accumulate) sums[0] += static_cast<double>(to_float(out[c]));
  out[c] = round_to<T>(static_cast<float>(sums[0]));
}

template <class T>
__global__ void fill_rows(const T* row, std::int64_t columns, T* out, std::int64_t elements) {
  for (std::int64_t i = grid_thread(); i < elements; i += grid_threads()) out[i] = row[i % columns];
}

}  // namespace row_kernels

std::function<void(Stream&)> make_sum_rows(ConstTensorView rows, TensorView out, bool accumulate, TensorView workspace) {
  auto* const of_block = static_cast<float*>(workspace.raw());
  const bool packed = fits_packs(rows.dtype(), rows.shape()[-1], rows.raw(), of_block);
  return dispatch_packs(rows.dtype(), packed, [&](auto element, auto width) -> std::function<void(Stream&)> {
    using T = decltype(element);
    const ChannelTiles tiles(rows, width);
    const auto* const from = device_pointer<T>(rows);
    auto* const to = device_pointer<T>(out);
    return [=](Stream& stream) {
      launch<row_kernels::sum_row_blocks<T, width>>(stream, tiles.shape(), tiles, from, of_block);
      launch<row_kernels::sum_blocks<T>>(stream, totals_shape(tiles), tiles, of_block, to, accumulate);
    };
  });
}

std::int64_t sum_rows_workspace_bytes(ConstTensorView rows) {
  // Rows in packs and without, since that depends on addresses.
  const int width = static_cast<int>(16 / size_bytes(rows.dtype()));
  const std::int64_t row_blocks = std::max(ChannelTiles(rows, 1).row_blocks, ChannelTiles(rows, width).row_blocks);
  return row_blocks * rows.shape()[-1] * size_bytes(DType::fp32);
}

std::function<void(Stream&)> make_fill_rows(ConstTensorView row, TensorView out) {
  if (!row.present()) return make_fill_zero(out);
  return dispatch_element(out.dtype(), [&](auto element) -> std::function<void(Stream&)> {
    using T = decltype(element);
    return [=, from = device_pointer<T>(row), to = device_pointer<T>(out), columns = row.elements(), elements = out.elements()](
               Stream& stream) { launch<row_kernels::fill_rows<T>>(stream, shape_for(elements), from, columns, to, elements); };
  });
}

std::function<void(Stream&)> make_fill_zero(TensorView out) {
  if (out.size_bytes() == 0) return [](Stream&) {};
  return [data = out.raw(), size_bytes = static_cast<std::size_t>(out.size_bytes())](Stream& stream) {
    check(cudaMemsetAsync(data, 0, size_bytes, handle_of(stream)), "cudaMemsetAsync");
  };
}

}  // namespace minim::cuda
