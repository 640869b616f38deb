#include "minim/runtime/kernels/elementwise.h"

#include <algorithm>
#include <cstring>

#include "cpu/parallel.h"
#include "cpu/relu.h"
#include "cpu/vector_kernels.h"
#include "minim/runtime/kernels/state.h"
#include "minim/runtime/simd.h"

namespace minim::cpu {
namespace {

void run_relu_forward(const ReluForward& args) {
  const DType dtype = args.x.dtype();
  const auto* x = static_cast<const std::byte*>(args.x.raw());
  auto* y = static_cast<std::byte*>(args.y.raw());
  const std::int64_t width_bytes = size_bytes(dtype);
  parallel_for(args.x.elements(), kElementsPerThread, [=](std::int64_t begin, std::int64_t end) {
    relu_forward(dtype, x + begin * width_bytes, y + begin * width_bytes, end - begin);
  });
}

void run_relu_backward(const ReluBackward& args) {
  const DType dtype = args.y.dtype();
  const auto* y = static_cast<const std::byte*>(args.y.raw());
  const auto* dy = static_cast<const std::byte*>(args.dy.raw());
  auto* dx = static_cast<std::byte*>(args.dx.raw());
  const std::int64_t width_bytes = size_bytes(dtype);
  parallel_for(args.y.elements(), kElementsPerThread, [=](std::int64_t begin, std::int64_t end) {
    const std::int64_t offset_bytes = begin * width_bytes;
    relu_backward(dtype, y + offset_bytes, dy + offset_bytes, dx + offset_bytes, end - begin);
  });
}

std::function<void()> make_sum(const Sum& args) {
  std::vector<const void*> inputs;
  for (const auto& input : args.inputs) inputs.push_back(input.raw());
  return [inputs = std::move(inputs), mask = args.mask, y = args.y] {
    const DType dtype = y.dtype();
    void* const output = y.raw();
    parallel_for(y.elements(), kElementsPerThread, [&](std::int64_t begin, std::int64_t end) {
      // In pieces that are still in the cache when the mask comes.
      for (; begin < end; begin += kElementsPerThread) {
        const std::int64_t piece = std::min(kElementsPerThread, end - begin), offset_bytes = begin * size_bytes(dtype);
        simd::reduce_scaled(inputs, dtype, begin, begin + piece, 1, {&output, 1});
        if (!mask.present()) continue;
        auto* const sums = static_cast<std::byte*>(output) + offset_bytes;
        relu_backward(dtype, static_cast<const std::byte*>(mask.raw()) + offset_bytes, sums, sums, piece);
      }
    });
  };
}

void run_cast(const Cast& args) { simd::convert(args.x, args.y); }

void run_zero(const Zero& args) {
  auto* y = static_cast<std::byte*>(args.y.raw());
  parallel_for(args.y.size_bytes(), 4 * kElementsPerThread,
               [=](std::int64_t begin, std::int64_t end) { std::memset(y + begin, 0, static_cast<std::size_t>(end - begin)); });
}

/// Copies between a matrix of `rows` rows of `row_bytes` and the part of `part_bytes` that starts at `offset_bytes` in each.
struct Strip {
  std::int64_t rows = 0;
  std::int64_t row_bytes = 0;
  std::int64_t offset_bytes = 0;
  std::int64_t part_bytes = 0;

  template <class Copy>
  void for_rows(const Copy& copy) const {
    if (part_bytes == 0) return;
    parallel_for(rows, 4 * kElementsPerThread / part_bytes + 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) copy(row * row_bytes + offset_bytes, row * part_bytes);
    });
  }
};

void run_concat_forward(const ConcatForward& args) {
  if (args.y.elements() == 0) return;
  auto* y = static_cast<std::byte*>(args.y.raw());
  const std::int64_t width_bytes = size_bytes(args.y.dtype());
  const std::int64_t channels = args.y.shape()[-1];
  Strip strip{.rows = args.y.elements() / channels, .row_bytes = channels * width_bytes};
  for (const auto& input : args.inputs) {
    strip.part_bytes = input.shape()[-1] * width_bytes;
    const auto* x = static_cast<const std::byte*>(input.raw());
    strip.for_rows([&](std::int64_t whole, std::int64_t part) {
      std::memcpy(y + whole, x + part, static_cast<std::size_t>(strip.part_bytes));
    });
    strip.offset_bytes += strip.part_bytes;
  }
}

void run_concat_backward(const ConcatBackward& args) {
  if (args.dy.elements() == 0) return;
  const auto* dy = static_cast<const std::byte*>(args.dy.raw());
  const std::int64_t width_bytes = size_bytes(args.dy.dtype());
  const std::int64_t channels = args.dy.shape()[-1];
  Strip strip{.rows = args.dy.elements() / channels, .row_bytes = channels * width_bytes};
  for (std::size_t i = 0; i < args.outputs.size(); ++i) {
    strip.part_bytes = args.channels[i] * width_bytes;
    if (args.outputs[i].present()) {
      auto* dx = static_cast<std::byte*>(args.outputs[i].raw());
      strip.for_rows([&](std::int64_t whole, std::int64_t part) {
        std::memcpy(dx + part, dy + whole, static_cast<std::size_t>(strip.part_bytes));
      });
    }
    strip.offset_bytes += strip.part_bytes;
  }
}

void run_commit_state(const CommitState& args) {
  const bool applied = *args.applied.data<std::int32_t>() != 0;
  simd::convert(applied ? args.pending : args.committed, applied ? args.committed : args.pending);
}

}  // namespace

void add_elementwise_kernels(Backend& backend) {
  backend.add_kernel<ReluForward>(host_kernel<ReluForward>(run_relu_forward), kSet);
  backend.add_kernel<ReluBackward>(host_kernel<ReluBackward>(run_relu_backward), kSet);
  backend.add_kernel<Sum>(prepared_host_kernel<Sum>(make_sum), kSet);
  backend.add_kernel<Cast>(host_kernel<Cast>(run_cast), kSet);
  backend.add_kernel<Zero>(host_kernel<Zero>(run_zero), kSet);
  backend.add_kernel<ConcatForward>(host_kernel<ConcatForward>(run_concat_forward), kSet);
  backend.add_kernel<ConcatBackward>(host_kernel<ConcatBackward>(run_concat_backward), kSet);
  backend.add_kernel<CommitState>(host_kernel<CommitState>(run_commit_state), kSet);
}

}  // namespace minim::cpu
