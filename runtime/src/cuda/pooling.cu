#include "minim/runtime/kernels/pooling.h"

#include <algorithm>

#include "cuda/cuda_kernel.h"
#include "cuda/floats.cuh"
#include "cuda/kernels.h"
#include "cuda/launch.h"
#include "pool_axis.h"

namespace minim::cuda {
namespace pooling_kernels {

/// Images [N, H, W, C] beside their pooled images.
struct Pooling {
  PoolAxes axes;
  std::int32_t channels = 0;

  __device__ std::int64_t image_elements() const {
    return static_cast<std::int64_t>(axes.rows.size) * axes.columns.size * channels;
  }
  __device__ std::int64_t output_elements() const {
    return static_cast<std::int64_t>(axes.rows.output) * axes.columns.output * channels;
  }
};

/// kWidth neighbouring channels of one position of an image, of all images' rows counted through.
struct PoolItem {
  template <int kWidth>
  __device__ static PoolItem of(std::int64_t row, std::int32_t item, std::int32_t height, std::int32_t channels) {
    const std::int32_t packs = channels / kWidth;
    return {row / height, static_cast<std::int32_t>(row % height), item / packs, item % packs * kWidth};
  }

  std::int64_t sample;
  std::int32_t row, column, channel;
};

/// Calls `work(row, item)` for every item of every row.
template <class Work>
__global__ void pool_rows(Work work, std::int64_t rows, std::int32_t items) {
  for (std::int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    for (std::int32_t item = static_cast<std::int32_t>(threadIdx.x); item < items;
         item += static_cast<std::int32_t>(blockDim.x)) {
      work(row, item);
    }
  }
}

/// The largest values so far and where they were seen first; NaN is larger than all.
template <int kWidth>
struct Winners {
  Floats<kWidth> values;
  Pack<std::uint8_t, kWidth> positions;

  __device__ void challenge(const Floats<kWidth>& rivals, std::int32_t position) {
    for (int k = 0; k < kWidth; ++k) {
      // Neither rival <= value nor a NaN that has won: the rival is larger or the first NaN.
      const bool wins = !(rivals[k] <= values[k]) && values[k] == values[k];
      if (wins) values[k] = rivals[k];
      if (wins) positions.values[k] = static_cast<std::uint8_t>(position);
    }
  }
};

template <class T, int kWidth>
struct MaxForward {
  __device__ void operator()(std::int64_t row, std::int32_t index) const {
    const PoolAxis& rows = pooling.axes.rows;
    const PoolAxis& columns = pooling.axes.columns;
    const auto item = PoolItem::of<kWidth>(row, index, rows.output, pooling.channels);
    const Extent h_range = rows.inside(item.row);
    const Extent w_range = columns.inside(item.column);
    const T* const image = x + item.sample * pooling.image_elements() + item.channel;
    Winners<kWidth> winners{};
    for (std::int32_t h = h_range.begin; h < h_range.end; ++h) {
      for (std::int32_t w = w_range.begin; w < w_range.end; ++w) {
        const std::int32_t position = rows.position(h, item.row) * columns.window + columns.position(w, item.column);
        const auto rivals = load_floats<kWidth>(image + (static_cast<std::int64_t>(h) * columns.size + w) * pooling.channels);
        if (h == h_range.begin && w == w_range.begin) {
          winners.values = rivals;
          for (auto& first : winners.positions.values) first = static_cast<std::uint8_t>(position);
        } else {
          winners.challenge(rivals, position);
        }
      }
    }
    const std::int64_t at = (row * columns.output + item.column) * pooling.channels + item.channel;
    store_floats(y + at, winners.values);
    if (argmax != nullptr) store_pack(argmax + at, winners.positions);
  }

  Pooling pooling;
  const T* x;
  T* y;
  std::uint8_t* argmax;
};

template <class T, int kWidth>
struct AverageForward {
  __device__ void operator()(std::int64_t row, std::int32_t index) const {
    const PoolAxis& columns = pooling.axes.columns;
    const auto item = PoolItem::of<kWidth>(row, index, pooling.axes.rows.output, pooling.channels);
    const Extent h_range = pooling.axes.rows.inside(item.row);
    const Extent w_range = columns.inside(item.column);
    const T* const image = x + item.sample * pooling.image_elements() + item.channel;
    Floats<kWidth> sum{};
    for (std::int32_t h = h_range.begin; h < h_range.end; ++h) {
      for (std::int32_t w = w_range.begin; w < w_range.end; ++w) {
        sum += load_floats<kWidth>(image + (static_cast<std::int64_t>(h) * columns.size + w) * pooling.channels);
      }
    }
    const float divisor = pooling.axes.divisor(item.row, item.column);
    for (float& value : sum.values) value /= divisor;
    store_floats(y + (row * columns.output + item.column) * pooling.channels + item.channel, sum);
  }

  Pooling pooling;
  const T* x;
  T* y;
};

/// What the windows give to the position that won them.
template <class T, int kWidth>
struct MaxShare {
  __device__ Floats<kWidth> operator()(std::int32_t position, std::int32_t, std::int32_t, std::int64_t offset) const {
    const auto winners = load_pack<kWidth>(argmax + offset);
    auto share = load_floats<kWidth>(dy + offset);
    for (int k = 0; k < kWidth; ++k) share[k] = winners.values[k] == position ? share[k] : 0.0F;
    return share;
  }

  const T* dy;
  const std::uint8_t* argmax;
};

/// What the windows give to each of their positions.
template <class T, int kWidth>
struct AverageShare {
  __device__ Floats<kWidth> operator()(std::int32_t, std::int32_t oh, std::int32_t ow, std::int64_t offset) const {
    const float divisor = axes.divisor(oh, ow);
    auto share = load_floats<kWidth>(dy + offset);
    for (float& value : share.values) value /= divisor;
    return share;
  }

  const T* dy;
  PoolAxes axes;
};

/// dx = the sum over the windows that cover a position of `share(position in the window, oh, ow, offset in dy)`.
template <class T, int kWidth, class Share>
struct Backward {
  __device__ void operator()(std::int64_t row, std::int32_t index) const {
    const PoolAxis& rows = pooling.axes.rows;
    const PoolAxis& columns = pooling.axes.columns;
    const auto item = PoolItem::of<kWidth>(row, index, rows.size, pooling.channels);
    const Extent oh_range = rows.covering(item.row);
    const Extent ow_range = columns.covering(item.column);
    const std::int64_t image = item.sample * pooling.output_elements() + item.channel;
    Floats<kWidth> sum{};
    for (std::int32_t oh = oh_range.begin; oh < oh_range.end; ++oh) {
      for (std::int32_t ow = ow_range.begin; ow < ow_range.end; ++ow) {
        const std::int32_t position = rows.position(item.row, oh) * columns.window + columns.position(item.column, ow);
        sum += share(position, oh, ow, image + (static_cast<std::int64_t>(oh) * columns.output + ow) * pooling.channels);
      }
    }
    store_floats(dx + (row * columns.size + item.column) * pooling.channels + item.channel, sum);
  }

  Pooling pooling;
  Share share;
  T* dx;
};

Pooling pooling_of(const ConstTensorView& x, const ConstTensorView& y, const PoolGeometry& geometry, bool count_padding = false) {
  return {.axes = pool_axes(x.shape(), y.shape(), geometry, count_padding), .channels = static_cast<std::int32_t>(x.shape()[3])};
}

/// Enqueues `work` over the rows of images [N, H, W, C].
template <int kWidth, class Work>
std::function<void(Stream&)> over_rows(const ConstTensorView& images, const Work& work) {
  const std::int64_t rows = images.shape()[0] * images.shape()[1];
  const auto items = static_cast<std::int32_t>(images.shape()[2] * images.shape()[3] / kWidth);
  const LaunchShape shape{.blocks = items == 0 ? 0 : std::min(rows, kMaxBlocks),
                          .threads = static_cast<int>(std::min<std::int64_t>(round_up(items, 32), kThreads))};
  return [=](Stream& stream) { launch<pool_rows<Work>>(stream, shape, work, rows, items); };
}

std::function<void(Stream&)> make_max_forward(const MaxPoolForward& args) {
  auto* const argmax = args.argmax.present() ? device_pointer<std::uint8_t>(args.argmax) : nullptr;
  const bool packed = fits_packs(args.x.dtype(), args.x.shape()[3], args.x.raw(), args.y.raw(), argmax);
  return dispatch_packs(args.x.dtype(), packed, [&](auto element, auto width) {
    using T = decltype(element);
    const MaxForward<T, width> work{pooling_of(args.x, args.y, args.geometry), device_pointer<T>(args.x),
                                    device_pointer<T>(args.y), argmax};
    return over_rows<width>(args.y, work);
  });
}

std::function<void(Stream&)> make_max_backward(const MaxPoolBackward& args) {
  const auto* const argmax = device_pointer<std::uint8_t>(args.argmax);
  const bool packed = fits_packs(args.dx.dtype(), args.dx.shape()[3], args.dx.raw(), args.dy.raw(), argmax);
  return dispatch_packs(args.dx.dtype(), packed, [&](auto element, auto width) {
    using T = decltype(element);
    using Share = MaxShare<T, width>;
    const Backward<T, width, Share> work{pooling_of(args.dx, args.dy, args.geometry), Share{device_pointer<T>(args.dy), argmax},
                                         device_pointer<T>(args.dx)};
    return over_rows<width>(args.dx, work);
  });
}

std::function<void(Stream&)> make_average_forward(const AveragePoolForward& args) {
  const bool packed = fits_packs(args.x.dtype(), args.x.shape()[3], args.x.raw(), args.y.raw());
  return dispatch_packs(args.x.dtype(), packed, [&](auto element, auto width) {
    using T = decltype(element);
    const AverageForward<T, width> work{pooling_of(args.x, args.y, args.geometry, args.count_padding), device_pointer<T>(args.x),
                                        device_pointer<T>(args.y)};
    return over_rows<width>(args.y, work);
  });
}

std::function<void(Stream&)> make_average_backward(const AveragePoolBackward& args) {
  const bool packed = fits_packs(args.dx.dtype(), args.dx.shape()[3], args.dx.raw(), args.dy.raw());
  return dispatch_packs(args.dx.dtype(), packed, [&](auto element, auto width) {
    using T = decltype(element);
    using Share = AverageShare<T, width>;
    const Pooling pooling = pooling_of(args.dx, args.dy, args.geometry, args.count_padding);
    const Backward<T, width, Share> work{pooling, Share{device_pointer<T>(args.dy), pooling.axes}, device_pointer<T>(args.dx)};
    return over_rows<width>(args.dx, work);
  });
}

}  // namespace pooling_kernels

void add_pooling_kernels(Backend& backend) {
  backend.add_kernel<MaxPoolForward>(cuda_kernel<MaxPoolForward>(pooling_kernels::make_max_forward), kSet);
  backend.add_kernel<MaxPoolBackward>(cuda_kernel<MaxPoolBackward>(pooling_kernels::make_max_backward), kSet);
  backend.add_kernel<AveragePoolForward>(cuda_kernel<AveragePoolForward>(pooling_kernels::make_average_forward), kSet);
  backend.add_kernel<AveragePoolBackward>(cuda_kernel<AveragePoolBackward>(pooling_kernels::make_average_backward), kSet);
}

}  // namespace minim::cuda
