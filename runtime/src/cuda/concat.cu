#include "cuda/cuda_kernel.h"
#include "cuda/element.cuh"
#include "cuda/kernels.h"
#include "cuda/launch.h"
#include "cuda/tile.h"
#include "minim/runtime/kernels/elementwise.h"

namespace minim::cuda {
namespace concat_kernels {

/// Rows of `width` words at distances of their own in source and destination.
struct Rows {
  std::int64_t rows, width, from_stride, to_stride;
};

/// `lanes` threads copy a row.
template <class Word>
__global__ void copy_rows(Rows shape, int lanes, const Word* from, Word* to) {
  const int lane = static_cast<int>(threadIdx.x) % lanes;
  for (std::int64_t row = grid_thread() / lanes; row < shape.rows; row += grid_threads() / lanes) {
    const Word* source = from + row * shape.from_stride;
    Word* destination = to + row * shape.to_stride;
    for (std::int64_t i = lane; i < shape.width; i += lanes) destination[i] = source[i];
  }
}

template <class Word>
std::function<void(Stream&)> make_word_copy(Rows rows, const void* from, void* to) {
  constexpr auto kWordBytes = static_cast<std::int64_t>(sizeof(Word));
  const Rows words{rows.rows, rows.width / kWordBytes, rows.from_stride / kWordBytes, rows.to_stride / kWordBytes};
  const int lanes = lanes_for(words.width, kThreads);
  return [=, source = static_cast<const Word*>(from), destination = static_cast<Word*>(to)](Stream& stream) {
    launch<copy_rows<Word>>(stream, shape_for(words.rows * lanes), words, lanes, source, destination);
  };
}

/// A copy in the widest words that fit. `rows` counts bytes.
std::function<void(Stream&)> make_copy(Rows rows, const void* from, void* to) {
  const auto address = reinterpret_cast<std::uintptr_t>(from) | reinterpret_cast<std::uintptr_t>(to);
  const std::uint64_t ends = address | static_cast<std::uint64_t>(rows.width | rows.from_stride | rows.to_stride);
  if (ends % sizeof(uint4) == 0) return make_word_copy<uint4>(rows, from, to);
  if (ends % sizeof(std::uint32_t) == 0) return make_word_copy<std::uint32_t>(rows, from, to);
  if (ends % sizeof(std::uint16_t) == 0) return make_word_copy<std::uint16_t>(rows, from, to);
  return make_word_copy<std::uint8_t>(rows, from, to);
}

/// Several copies as one.
std::function<void(Stream&)> in_turn(std::vector<std::function<void(Stream&)>> copies) {
  return [copies = std::move(copies)](Stream& stream) {
    for (const auto& copy : copies) copy(stream);
  };
}

std::function<void(Stream&)> make_forward(const ConcatForward& args) {
  const std::int64_t width_bytes = size_bytes(args.y.dtype());
  const std::int64_t row_bytes = args.y.shape()[-1] * width_bytes;
  const std::int64_t rows = row_bytes == 0 ? 0 : args.y.size_bytes() / row_bytes;
  auto* y = static_cast<std::byte*>(args.y.raw());
  std::vector<std::function<void(Stream&)>> copies;
  for (const ConstTensorView& x : args.inputs) {
    const std::int64_t part_bytes = x.shape()[-1] * width_bytes;
    if (part_bytes > 0) copies.push_back(make_copy({rows, part_bytes, part_bytes, row_bytes}, x.raw(), y));
    y += part_bytes;
  }
  return in_turn(std::move(copies));
}

std::function<void(Stream&)> make_backward(const ConcatBackward& args) {
  const std::int64_t width_bytes = size_bytes(args.dy.dtype());
  const std::int64_t row_bytes = args.dy.shape()[-1] * width_bytes;
  const std::int64_t rows = row_bytes == 0 ? 0 : args.dy.size_bytes() / row_bytes;
  const auto* dy = static_cast<const std::byte*>(args.dy.raw());
  std::vector<std::function<void(Stream&)>> copies;
  for (std::size_t k = 0; k < args.outputs.size(); ++k) {
    const std::int64_t part_bytes = args.channels[k] * width_bytes;
    const bool wanted = args.outputs[k].present() && part_bytes > 0;
    if (wanted) copies.push_back(make_copy({rows, part_bytes, row_bytes, part_bytes}, dy, args.outputs[k].raw()));
    dy += part_bytes;
  }
  return in_turn(std::move(copies));
}

}  // namespace concat_kernels

void add_concat_kernels(Backend& backend) {
  backend.add_kernel<ConcatForward>(cuda_kernel<ConcatForward>(concat_kernels::make_forward), kSet);
  backend.add_kernel<ConcatBackward>(cuda_kernel<ConcatBackward>(concat_kernels::make_backward), kSet);
}

}  // namespace minim::cuda
