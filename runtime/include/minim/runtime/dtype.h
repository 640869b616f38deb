#pragma once

#include <cstdint>
#include <string_view>

#include "minim/runtime/error.h"
#include "minim/runtime/half.h"

namespace minim {

/// What one element of a tensor is stored as.
enum class DType : std::uint8_t { fp32, fp16, bf16, fp64, int32, int64, uint8 };

/// Bytes of one element.
constexpr std::int64_t size_bytes(DType dtype) {
  switch (dtype) {
    case DType::fp64:
    case DType::int64: return 8;
    case DType::fp32:
    case DType::int32: return 4;
    case DType::fp16:
    case DType::bf16: return 2;
    case DType::uint8: return 1;
  }
  return 0;
}

/// "fp32", "fp16", ...
std::string_view name(DType dtype);

template <class T>
inline constexpr bool kIsElement = false;
template <class T>
inline constexpr DType kDType = DType::uint8;

#define MINIM_ELEMENT(type, dtype)                     \
  template <>                                          \
  inline constexpr bool kIsElement<type> = true;       \
  template <>                                          \
  inline constexpr DType kDType<type> = DType::dtype;
MINIM_ELEMENT(float, fp32)
MINIM_ELEMENT(Half, fp16)
MINIM_ELEMENT(BFloat16, bf16)
MINIM_ELEMENT(double, fp64)
MINIM_ELEMENT(std::int32_t, int32)
MINIM_ELEMENT(std::int64_t, int64)
MINIM_ELEMENT(std::uint8_t, uint8)
#undef MINIM_ELEMENT

/// Calls `f(T{})` with the floating storage type of `dtype`: float, Half or BFloat16. Throws InvalidArgument for others.
template <class F>
decltype(auto) dispatch_floating(DType dtype, F&& f) {
  switch (dtype) {
    case DType::fp32: return f(float{});
    case DType::fp16: return f(Half{});
    case DType::bf16: return f(BFloat16{});
    default: throw InvalidArgument("a kernel for fp32, fp16 or bf16 was given another element type");
  }
}

}  // namespace minim
