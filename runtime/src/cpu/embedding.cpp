#include "minim/runtime/kernels/embedding.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <span>

#include "cpu/parallel.h"
#include "cpu/vector_kernels.h"
#include "minim/runtime/simd.h"

namespace minim::cpu {
namespace {

/// Columns that are summed at a time: their FP32 sums stay in the L1 cache.
constexpr std::int64_t kColumns = 1024;

/// Calls `f(indices)` with their address as int32 or int64.
template <class F>
void dispatch_indices(const ConstTensorView& indices, const F& f) {
  indices.dtype() == DType::int32 ? f(indices.data<std::int32_t>()) : f(indices.data<std::int64_t>());
}

/// Places of the valid samples.
std::int64_t valid_places(const ConstTensorView& indices, const ConstTensorView& valid_samples) {
  const std::int64_t samples = indices.shape()[0];
  const std::int64_t valid = valid_samples.present() ? *valid_samples.data<std::int32_t>() : samples;
  return std::clamp<std::int64_t>(valid, 0, samples) * indices.shape().elements_per_sample();
}

template <class Index>
void gather(const EmbeddingForward& args, const Index* indices) {
  const std::int64_t rows = args.w.shape()[0];
  const std::int64_t row_bytes = args.w.shape()[1] * size_bytes(args.w.dtype());
  const std::int64_t valid = valid_places(args.indices, args.valid_samples);
  const auto* const w = static_cast<const std::byte*>(args.w.raw());
  auto* const y = static_cast<std::byte*>(args.y.raw());
  const std::int64_t grain = 4 * kElementsPerThread / std::max<std::int64_t>(row_bytes, 1) + 1;
  parallel_for(args.indices.elements(), grain, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const auto bytes = static_cast<std::size_t>(row_bytes);
      if (i >= valid) {
        std::memset(y + i * row_bytes, 0, bytes);
      } else if (indices[i] >= 0 && indices[i] < rows) {
        std::memcpy(y + i * row_bytes, w + indices[i] * row_bytes, bytes);
      } else {
        std::memset(y + i * row_bytes, 0xFF, bytes);  // NaN in every type
      }
    }
  });
}

void run_forward(const EmbeddingForward& args) {
  if (args.y.elements() == 0) return;
  dispatch_indices(args.indices, [&](const auto* indices) { gather(args, indices); });
}

/// dw[row] = the sum of dy at `places`, and of the old dw.
template <class T>
void sum_places(const EmbeddingBackward& args, std::int64_t row, std::span<const std::int32_t> places) {
  if (places.empty() && args.accumulate) return;
  const std::int64_t columns = args.dw.shape()[1];
  const T* const dy = args.dy.data<T>();
  T* const dw = args.dw.data<T>() + row * columns;
  std::array<float, kColumns> sums, values;
  for (std::int64_t column = 0; column < columns; column += kColumns) {
    const std::int64_t n = std::min(kColumns, columns - column);
    std::fill_n(sums.begin(), n, 0.0F);
    for (const std::int64_t place : places) {
      simd::to_float(dy + place * columns + column, values.data(), n);
      simd::add(values.data(), sums.data(), n);
    }
    if (args.accumulate) {
      simd::to_float(dw + column, values.data(), n);
      simd::add(values.data(), sums.data(), n);
    }
    simd::from_float(sums.data(), dw + column, n);
  }
}

/// Sorts the places by their indices, so that each row of dw is summed by one thread.
template <class Index>
void scatter(const EmbeddingBackward& args, const Index* indices) {
  const std::int64_t valid = valid_places(args.indices, args.valid_samples);
  const std::span<std::int32_t> places{static_cast<std::int32_t*>(args.workspace.raw()), static_cast<std::size_t>(valid)};
  std::iota(places.begin(), places.end(), 0);
  std::ranges::sort(places,
                    [=](std::int32_t a, std::int32_t b) { return indices[a] != indices[b] ? indices[a] < indices[b] : a < b; });
  const std::int64_t columns = args.dw.shape()[1];
  dispatch_floating(args.dw.dtype(), [&](auto t) {
    parallel_for(args.dw.shape()[0], kElementsPerThread / columns + 1, [&](std::int64_t begin, std::int64_t end) {
      const auto index_of = [=](std::int32_t place) -> std::int64_t { return indices[place]; };
      auto first = std::ranges::lower_bound(places, begin, {}, index_of);
      for (std::int64_t row = begin; row < end; ++row) {
        const auto last = std::find_if(first, places.end(), [&](std::int32_t place) { return index_of(place) != row; });
        sum_places<decltype(t)>(args, row, {first, last});
        first = last;
      }
    });
  });
}

void run_backward(const EmbeddingBackward& args) {
  if (args.dw.elements() == 0) return;
  dispatch_indices(args.indices, [&](const auto* indices) { scatter(args, indices); });
}

std::int64_t workspace_bytes(const EmbeddingBackward& args) {
  return args.indices.elements() * static_cast<std::int64_t>(sizeof(std::int32_t));
}

}  // namespace

void add_embedding_kernels(Backend& backend) {
  backend.add_kernel<EmbeddingForward>(host_kernel<EmbeddingForward>(run_forward), kSet);
  backend.add_kernel<EmbeddingBackward>(host_kernel<EmbeddingBackward>(run_backward, workspace_bytes), kSet);
}

}  // namespace minim::cpu
