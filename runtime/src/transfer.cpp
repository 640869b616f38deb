#include "minim/runtime/transfer.h"

#include <cstddef>
#include <vector>

#include "minim/runtime/simd.h"

namespace minim {

void upload(Backend& backend, std::span<const float> values, TensorView to) {
  const ConstTensorView floats(values.data(), DType::fp32, Shape{static_cast<std::int64_t>(values.size())});
  if (to.dtype() == DType::fp32) return backend.copy(to, floats);
  std::vector<std::byte> rounded(static_cast<std::size_t>(to.size_bytes()));
  const TensorView host(rounded.data(), to.dtype(), to.shape());
  simd::convert(floats, host);
  backend.copy(to, host);
}

void download(Backend& backend, ConstTensorView from, std::span<float> values) {
  const TensorView floats(values.data(), DType::fp32, Shape{static_cast<std::int64_t>(values.size())});
  if (from.dtype() == DType::fp32) return backend.copy(floats, from);
  std::vector<std::byte> stored(static_cast<std::size_t>(from.size_bytes()));
  const TensorView host(stored.data(), from.dtype(), from.shape());
  backend.copy(host, from);
  simd::convert(host, floats);
}

}  // namespace minim
