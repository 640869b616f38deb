#include "minim/runtime/kernels/bias.h"

#include <algorithm>
#include <array>

#include "cpu/parallel.h"
#include "cpu/vector_kernels.h"
#include "minim/runtime/simd.h"
#include "onednn/rows.h"

namespace minim::cpu {
namespace {

/// Elements that are converted at a time: they stay in the L1 cache.
constexpr std::int64_t kBlock = 1024;

/// Adds `bias` to rows of `channels` elements: as many rows at a time as fit into a block, or a part of each.
template <class T>
void add_to_rows(const T* bias, std::int64_t channels, T* y, std::int64_t rows) {
  const std::int64_t block_rows = std::max<std::int64_t>(kBlock / channels, 1);
  std::array<float, kBlock> biases, values;
  for (std::int64_t channel = 0; channel < channels; channel += kBlock) {
    const std::int64_t n = std::min(kBlock, channels - channel);
    for (std::int64_t row = 0; row < block_rows; ++row) simd::to_float(bias + channel, biases.data() + row * n, n);
    for (std::int64_t row = 0; row < rows; row += block_rows) {
      T* const block = y + row * channels + channel;
      const std::int64_t size = std::min(block_rows, rows - row) * n;
      simd::to_float(block, values.data(), size);
      simd::add(biases.data(), values.data(), size);
      simd::from_float(values.data(), block, size);
    }
  }
}

void run_add(const AddBias& args) {
  if (args.y.elements() == 0) return;
  const std::int64_t channels = args.bias.elements();
  dispatch_floating(args.y.dtype(), [&](auto t) {
    const auto* const bias = args.bias.data<decltype(t)>();
    auto* const y = args.y.data<decltype(t)>();
    parallel_for(args.y.elements() / channels, kElementsPerThread / channels + 1,
                 [=](std::int64_t begin, std::int64_t end) { add_to_rows(bias, channels, y + begin * channels, end - begin); });
  });
}

void run_gradient(const BiasGradient& args) { onednn::sum_rows(args.dy, args.dbias, args.accumulate); }

}  // namespace

void add_bias_kernels(Backend& backend) {
  backend.add_kernel<AddBias>(host_kernel<AddBias>(run_add), kSet);
  backend.add_kernel<BiasGradient>(host_kernel<BiasGradient>(run_gradient), kSet);
}

}  // namespace minim::cpu
