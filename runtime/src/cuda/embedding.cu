#include "minim/runtime/kernels/embedding.h"

#include <type_traits>

#include "cuda/channel_tiles.cuh"
#include "cuda/cuda_kernel.h"
#include "cuda/kernels.h"

namespace minim::cuda {
namespace embedding_kernels {

/// The rows of a table and the places that name one.
template <class Index>
struct Places {
  /// Those of valid samples.
  __device__ std::int64_t count_valid() const {
    if (valid_samples == nullptr) return count;
    const std::int64_t valid = *valid_samples, samples = count / sample_places;
    return (valid < 0 ? 0 : valid < samples ? valid : samples) * sample_places;
  }

  const Index* indices;
  const std::int32_t* valid_samples;  ///< may be null
  std::int64_t count, sample_places;
  std::int64_t rows, columns;
};

/// Rows without an index are NaN, those of padding 0.
template <class T, int kWidth, class Index>
__global__ void gather_rows(Places<Index> places, const T* w, T* y) {
  const std::int64_t packs = places.columns / kWidth, valid = places.count_valid();
  for (std::int64_t i = grid_thread(); i < places.count * packs; i += grid_threads()) {
    const std::int64_t place = i / packs, column = i % packs * kWidth;
    const std::int64_t row = place < valid ? static_cast<std::int64_t>(places.indices[place]) : 0;
    Pack<T, kWidth> pack{};
    if (place < valid && row >= 0 && row < places.rows) {
      pack = load_pack<kWidth>(w + row * places.columns + column);
    } else if (place < valid) {
      for (int k = 0; k < kWidth; ++k) pack.values[k] = round_to<T>(__uint_as_float(0x7FC00000U));
    }
    store_pack(y + place * places.columns + column, pack);
  }
}

/// The places sorted by their indices, equal ones in their order: each place counts those before it.
template <class Index>
__global__ void __launch_bounds__(kThreads) sort_places(Places<Index> places, std::int32_t* sorted) {
  __shared__ Index tile[kThreads];
  for (std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kThreads; first < places.count; first += grid_threads()) {
    const std::int64_t place = first + threadIdx.x;
    const Index own = place < places.count ? places.indices[place] : Index{0};
    std::int32_t before = 0;
    for (std::int64_t begin = 0; begin < places.count; begin += kThreads) {
      if (begin + threadIdx.x < places.count) tile[threadIdx.x] = places.indices[begin + threadIdx.x];
      __syncthreads();
      const auto size = static_cast<int>(places.count - begin < kThreads ? places.count - begin : kThreads);
      for (int k = 0; k < size; ++k) before += tile[k] < own || (tile[k] == own && begin + k < place) ? 1 : 0;
      __syncthreads();
    }
    if (place < places.count) sorted[before] = static_cast<std::int32_t>(place);
  }
}

/// The first of the sorted places with an index of at least `row`.
template <class Index>
__device__ std::int64_t first_of_row(const Places<Index>& places, const std::int32_t* sorted, std::int64_t row) {
  std::int64_t low = 0, high = places.count;
  while (low < high) {
    const std::int64_t middle = (low + high) / 2;
    if (static_cast<std::int64_t>(places.indices[sorted[middle]]) < row) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

/// Each pack of dw is one thread's, which adds what belongs there in the order of places.
template <class T, int kWidth, class Index>
__global__ void sum_rows(Places<Index> places, const std::int32_t* sorted, const T* dy, T* dw, bool accumulate) {
  const std::int64_t packs = places.columns / kWidth, valid = places.count_valid();
  for (std::int64_t i = grid_thread(); i < places.rows * packs; i += grid_threads()) {
    const std::int64_t row = i / packs, column = i % packs * kWidth;
    Floats<kWidth> sum{};
    for (std::int64_t s = first_of_row(places, sorted, row); s < places.count; ++s) {
      const std::int64_t place = sorted[s];
      if (place >= valid || static_cast<std::int64_t>(places.indices[place]) != row) break;
      sum += load_floats<kWidth>(dy + place * places.columns + column);
    }
    T* const to = dw + row * places.columns + column;
    if (accumulate) sum += load_floats<kWidth>(to);
    store_floats(to, sum);
  }
}

/// Calls `f(T{}, width, places)`.
template <class F>
std::function<void(Stream&)> dispatch(const ConstTensorView& table, const ConstTensorView& indices,
                                      const ConstTensorView& valid_samples, bool packed, const F& f) {
  const auto with = [&](auto index) {
    using Index = decltype(index);
    const Places<Index> places{.indices = device_pointer<Index>(indices),
                               .valid_samples = valid_pointer(valid_samples),
                               .count = indices.elements(),
                               .sample_places = indices.shape().elements_per_sample(),
                               .rows = table.shape()[0],
                               .columns = table.shape()[1]};
    return dispatch_packs(table.dtype(), packed,
                          [&](auto element, auto width) -> std::function<void(Stream&)> { return f(element, width, places); });
  };
  return indices.dtype() == DType::int32 ? with(std::int32_t{}) : with(std::int64_t{});
}

std::function<void(Stream&)> make_forward(const EmbeddingForward& args) {
  const bool packed = fits_packs(args.w.dtype(), args.w.shape()[1], args.w.raw(), args.y.raw());
  return dispatch(args.w, args.indices, args.valid_samples, packed,
                  [&](auto element, auto width, auto places) -> std::function<void(Stream&)> {
                    using T = decltype(element);
                    using Index = std::remove_cvref_t<decltype(*places.indices)>;
                    return [=, w = device_pointer<T>(args.w), y = device_pointer<T>(args.y)](Stream& stream) {
                      const LaunchShape shape = shape_for(places.count * places.columns / width);
                      launch<gather_rows<T, width, Index>>(stream, shape, places, w, y);
                    };
                  });
}

std::function<void(Stream&)> make_backward(const EmbeddingBackward& args) {
  const bool packed = fits_packs(args.dw.dtype(), args.dw.shape()[1], args.dw.raw(), args.dy.raw());
  return dispatch(args.dw, args.indices, args.valid_samples, packed,
                  [&](auto element, auto width, auto places) -> std::function<void(Stream&)> {
                    using T = decltype(element);
                    using Index = std::remove_cvref_t<decltype(*places.indices)>;
                    auto* const sorted = static_cast<std::int32_t*>(args.workspace.raw());
                    return [=, dy = device_pointer<T>(args.dy), dw = device_pointer<T>(args.dw),
                            accumulate = args.accumulate](Stream& stream) {
                      launch<sort_places<Index>>(stream, shape_for(places.count), places, sorted);
                      launch<sum_rows<T, width, Index>>(stream, shape_for(places.rows * places.columns / width), places, sorted,
                                                        dy, dw, accumulate);
                    };
                  });
}

std::int64_t workspace_bytes(const EmbeddingBackward& args) {
  return args.indices.elements() * static_cast<std::int64_t>(sizeof(std::int32_t));
}

}  // namespace embedding_kernels

void add_embedding_kernels(Backend& backend) {
  namespace own = embedding_kernels;
  backend.add_kernel<EmbeddingForward>(cuda_kernel<EmbeddingForward>(own::make_forward), kSet);
  backend.add_kernel<EmbeddingBackward>(cuda_kernel<EmbeddingBackward>(own::make_backward, own::workspace_bytes), kSet);
}

}  // namespace minim::cuda
