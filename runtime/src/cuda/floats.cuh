#pragma once

#include <type_traits>

#include "cuda/element.cuh"

namespace minim::cuda {

/// `kCount` neighbouring elements as a thread computes with them.
template <int kCount>
struct Floats {
  float values[kCount];

  __device__ float& operator[](int i) { return values[i]; }
  __device__ float operator[](int i) const { return values[i]; }
  __device__ Floats& operator+=(const Floats& other) {
    for (int i = 0; i < kCount; ++i) values[i] += other.values[i];
    return *this;
  }
};

template <class T, int kCount>
__device__ Floats<kCount> to_floats(const Pack<T, kCount>& pack) {
  Floats<kCount> floats;
  for (int i = 0; i < kCount; ++i) floats[i] = to_float(pack.values[i]);
  return floats;
}

/// From an address that is a multiple of the pack's bytes, or of 16.
template <int kCount, class T>
__device__ Floats<kCount> load_floats(const T* elements) {
  return to_floats(load_pack<kCount>(elements));
}

/// Rounds once.
template <int kCount, class T>
__device__ void store_floats(T* elements, const Floats<kCount>& floats) {
  Pack<T, kCount> pack;
  for (int i = 0; i < kCount; ++i) pack.values[i] = round_to<T>(floats[i]);
  store_pack(elements, pack);
}

/// Calls `f(T{}, width)` with the element type for `dtype` and how many elements a thread takes at once: as many as fill 16 bytes
/// where `packed`, else 1.
template <class F>
decltype(auto) dispatch_packs(DType dtype, bool packed, F&& f) {
  return dispatch_element(dtype, [&](auto element) {
    if (packed) return f(element, std::integral_constant<int, kPack<decltype(element)>>{});
    return f(element, std::integral_constant<int, 1>{});
  });
}

/// Whether rows of `row_elements` elements of `dtype`, all from addresses `starts`, can be taken in packs.
template <class... Pointers>
bool fits_packs(DType dtype, std::int64_t row_elements, const Pointers*... starts) {
  return row_elements * size_bytes(dtype) % 16 == 0 && (is_aligned(starts) && ...);
}

}  // namespace minim::cuda
