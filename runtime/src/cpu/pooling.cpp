#include "minim/runtime/kernels/pooling.h"

#include <array>
#include <cstring>

#include "cpu/channel_loops.h"
#include "cpu/parallel.h"
#include "cpu/pooling_loops.h"
#include "cpu/vector_kernels.h"
#include "minim/runtime/simd.h"

namespace minim::cpu {
namespace {

Pooling pooling_of(const ConstTensorView& x, const ConstTensorView& y, const PoolGeometry& geometry, bool count_padding = false) {
  return {.dtype = x.dtype(), .axes = pool_axes(x.shape(), y.shape(), geometry, count_padding), .channels = x.shape()[3]};
}

/// Images [N, H, W, C] by sample and row.
template <class Byte>
class Images {
 public:
  Images(Byte* data, const ConstTensorView& view)
      : data_(data),
        row_bytes_(view.shape()[2] * view.shape()[3] * size_bytes(view.dtype())),
        image_bytes_(view.shape()[1] * row_bytes_) {}

  Byte* image(std::int64_t n) const { return data_ + n * image_bytes_; }
  Byte* row(std::int64_t n, std::int64_t h) const { return image(n) + h * row_bytes_; }

 private:
  Byte* data_;
  std::int64_t row_bytes_;
  std::int64_t image_bytes_;
};

Images<const std::byte> images(const ConstTensorView& view) { return {static_cast<const std::byte*>(view.raw()), view}; }
Images<std::byte> images(const TensorView& view) { return {static_cast<std::byte*>(view.raw()), view}; }

/// Calls `f(n, h)` for every row of every image of `view`, in parallel.
template <class F>
void for_rows(const ConstTensorView& view, const F& f) {
  if (view.elements() == 0) return;
  const std::int64_t height = view.shape()[1];
  const std::int64_t grain = kElementsPerThread / (view.shape()[2] * view.shape()[3]) + 1;
  parallel_for(view.shape()[0] * height, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) f(i / height, i % height);
  });
}

void run_max_forward(const MaxPoolForward& args) {
  const Pooling pooling = pooling_of(args.x, args.y, args.geometry);
  const auto x = images(args.x);
  const auto y = images(args.y);
  const std::int64_t row_elements = pooling.channels * pooling.axes.columns.output;
  for_rows(args.y, [&](std::int64_t n, std::int64_t oh) {
    std::uint8_t* argmax = nullptr;
    if (args.argmax.present()) argmax = args.argmax.data<std::uint8_t>() + (n * pooling.axes.rows.output + oh) * row_elements;
    max_pool_row(pooling, x.image(n), oh, y.row(n, oh), argmax);
  });
}

void run_max_backward(const MaxPoolBackward& args) {
  const Pooling pooling = pooling_of(args.dx, args.dy, args.geometry);
  const auto dy = images(args.dy);
  const auto dx = images(args.dx);
  const std::int64_t image_elements = pooling.channels * pooling.axes.rows.output * pooling.axes.columns.output;
  for_rows(args.dx, [&](std::int64_t n, std::int64_t h) {
    const auto* argmax = args.argmax.data<std::uint8_t>() + n * image_elements;
    max_pool_gradient_row(pooling, dy.image(n), argmax, h, dx.row(n, h));
  });
}

void run_average_forward(const AveragePoolForward& args) {
  const Pooling pooling = pooling_of(args.x, args.y, args.geometry, args.count_padding);
  const auto x = images(args.x);
  const auto y = images(args.y);
  for_rows(args.y, [&](std::int64_t n, std::int64_t oh) { average_pool_row(pooling, x.image(n), oh, y.row(n, oh)); });
}

void run_average_backward(const AveragePoolBackward& args) {
  const Pooling pooling = pooling_of(args.dx, args.dy, args.geometry, args.count_padding);
  const auto dy = images(args.dy);
  const auto dx = images(args.dx);
  for_rows(args.dx, [&](std::int64_t n, std::int64_t h) { average_pool_gradient_row(pooling, dy.image(n), h, dx.row(n, h)); });
}

/// Positions whose sums are FP32, and channels summed together, on the stack; sums over blocks are FP64.
constexpr std::int64_t kBlockPositions = 256;
constexpr std::int64_t kChunkChannels = 512;

/// Means over all positions of an image of channels [begin, end), at most kChunkChannels.
void average_channels(DType dtype, const void* image, ChannelBlock block, std::int64_t positions, float* means) {
  std::array<double, kChunkChannels> totals{};
  std::array<float, kChunkChannels> sums;
  const std::int64_t count = block.channel_end;
  for (block.row_begin = 0; block.row_begin < positions; block.row_begin = block.row_end) {
    block.row_end = std::min(block.row_begin + kBlockPositions, positions);
    channel_sums(dtype, image, block, sums.data());
    for (std::int64_t c = 0; c < count; ++c) totals[static_cast<std::size_t>(c)] += sums[static_cast<std::size_t>(c)];
  }
  for (std::int64_t c = 0; c < count; ++c) {
    means[c] = static_cast<float>(totals[static_cast<std::size_t>(c)] / static_cast<double>(positions));
  }
}

void run_global_average_forward(const GlobalAveragePoolForward& args) {
  const std::int64_t positions = args.x.shape()[1] * args.x.shape()[2];
  const std::int64_t channels = args.x.shape()[3];
  const std::int64_t chunks = (channels + kChunkChannels - 1) / kChunkChannels;
  const std::int64_t width_bytes = size_bytes(args.x.dtype());
  const auto* x = static_cast<const std::byte*>(args.x.raw());
  const std::int64_t grain = kElementsPerThread / std::max<std::int64_t>(positions * std::min(channels, kChunkChannels), 1) + 1;
  parallel_for(args.x.shape()[0] * chunks, grain, [&](std::int64_t begin, std::int64_t end) {
    std::array<float, kChunkChannels> means;
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t n = i / chunks;
      const std::int64_t c = i % chunks * kChunkChannels;
      const std::int64_t count = std::min(kChunkChannels, channels - c);
      const ChannelBlock block{.channel_end = count, .channels = channels};
      average_channels(args.x.dtype(), x + (n * positions * channels + c) * width_bytes, block, positions, means.data());
      dispatch_floating(args.y.dtype(),
                        [&](auto t) { simd::from_float(means.data(), args.y.data<decltype(t)>() + n * channels + c, count); });
    }
  });
}

void run_global_average_backward(const GlobalAveragePoolBackward& args) {
  if (args.dx.elements() == 0) return;
  const std::int64_t positions = args.dx.shape()[1] * args.dx.shape()[2];
  const std::int64_t channels = args.dx.shape()[3];
  const std::int64_t row_bytes = channels * size_bytes(args.dx.dtype());
  const auto* dy = static_cast<const std::byte*>(args.dy.raw());
  auto* dx = static_cast<std::byte*>(args.dx.raw());
  const auto factor = static_cast<float>(1 / static_cast<double>(positions));
  const std::int64_t grain = kElementsPerThread / (positions * channels) + 1;
  parallel_for(args.dx.shape()[0], grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) {
      const void* const source = dy + n * row_bytes;
      std::byte* const image = dx + n * positions * row_bytes;
      void* const first_row = image;
      simd::reduce_scaled({&source, 1}, args.dx.dtype(), 0, channels, factor, {&first_row, 1});
      for (std::int64_t p = 1; p < positions; ++p) std::memcpy(image + p * row_bytes, image, static_cast<std::size_t>(row_bytes));
    }
  });
}

}  // namespace

void add_pooling_kernels(Backend& backend) {
  backend.add_kernel<MaxPoolForward>(host_kernel<MaxPoolForward>(run_max_forward), kSet);
  backend.add_kernel<MaxPoolBackward>(host_kernel<MaxPoolBackward>(run_max_backward), kSet);
  backend.add_kernel<AveragePoolForward>(host_kernel<AveragePoolForward>(run_average_forward), kSet);
  backend.add_kernel<AveragePoolBackward>(host_kernel<AveragePoolBackward>(run_average_backward), kSet);
  backend.add_kernel<GlobalAveragePoolForward>(host_kernel<GlobalAveragePoolForward>(run_global_average_forward), kSet);
  backend.add_kernel<GlobalAveragePoolBackward>(host_kernel<GlobalAveragePoolBackward>(run_global_average_backward), kSet);
}

}  // namespace minim::cpu
