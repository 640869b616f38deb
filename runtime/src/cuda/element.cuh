#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "minim/runtime/tensor.h"

/// Elements as kernels see them: FP16 and BF16 are the toolkit's types, of the same bits as minim's. Arithmetic is FP32.
namespace minim::cuda {

template <class T>
inline constexpr DType kElementDType = kDType<T>;
template <>
inline constexpr DType kElementDType<__half> = DType::fp16;
template <>
inline constexpr DType kElementDType<__nv_bfloat16> = DType::bf16;

template <class T>
inline constexpr float kRoundsToZero = minim::kRoundsToZero<T>;
template <>
inline constexpr float kRoundsToZero<__half> = minim::kRoundsToZero<Half>;
template <>
inline constexpr float kRoundsToZero<__nv_bfloat16> = minim::kRoundsToZero<BFloat16>;

/// Exact; a NaN stays one.
__host__ __device__ inline float to_float(float value) { return value; }
__host__ __device__ inline float to_float(__half value) { return __half2float(value); }
__host__ __device__ inline float to_float(__nv_bfloat16 value) { return __bfloat162float(value); }

/// `value` rounded to the storage type `T`, to nearest even; a NaN stays one.
template <class T>
__host__ __device__ T round_to(float value);
template <>
__host__ __device__ inline float round_to<float>(float value) {
  return value;
}
template <>
__host__ __device__ inline __half round_to<__half>(float value) {
  return __float2half_rn(value);
}
template <>
__host__ __device__ inline __nv_bfloat16 round_to<__nv_bfloat16>(float value) {
  return __float2bfloat16_rn(value);
}

/// The device's address of a view's elements. Throws InvalidArgument when their type is another.
template <class T>
const T* device_pointer(const ConstTensorView& view) {
  if (kElementDType<T> != view.dtype()) minim::detail::throw_dtype_mismatch(view.dtype(), kElementDType<T>);
  return static_cast<const T*>(view.raw());
}
template <class T>
T* device_pointer(const TensorView& view) {
  if (kElementDType<T> != view.dtype()) minim::detail::throw_dtype_mismatch(view.dtype(), kElementDType<T>);
  return static_cast<T*>(view.raw());
}

/// Calls `f(T{})` with the element type of kernels for `dtype`: float, __half or __nv_bfloat16. Throws InvalidArgument for
/// others.
template <class F>
decltype(auto) dispatch_element(DType dtype, F&& f) {
  switch (dtype) {
    case DType::fp32: return f(float{});
    case DType::fp16: return f(__half{});
    case DType::bf16: return f(__nv_bfloat16{});
    default: throw InvalidArgument("a kernel for fp32, fp16 or bf16 was given another element type");
  }
}

/// `kCount` neighbouring elements that are read or written by as few accesses as there are 16 bytes.
template <class T, int kCount>
struct alignas(sizeof(T) * kCount < 16 ? sizeof(T) * kCount : 16) Pack {
  T values[kCount];
};

/// Elements of `T` in 16 bytes.
template <class T>
inline constexpr int kPack = static_cast<int>(16 / sizeof(T));

template <int kCount, class T>
__device__ Pack<T, kCount> load_pack(const T* elements) {
  return *reinterpret_cast<const Pack<T, kCount>*>(elements);
}
template <int kCount, class T>
__device__ void store_pack(T* elements, const Pack<T, kCount>& pack) {
  *reinterpret_cast<Pack<T, kCount>*>(elements) = pack;
}

/// Whether packs of 16 bytes may start at the address.
inline bool is_aligned(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0; }

// The grid as one line of threads.
__device__ inline std::int64_t grid_thread() { return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ inline std::int64_t grid_threads() { return static_cast<std::int64_t>(gridDim.x) * blockDim.x; }

}  // namespace minim::cuda
