#include "minim/runtime/tensor.h"

#include <fmt/format.h>

#include <utility>

namespace minim {
namespace detail {

void throw_dtype_mismatch(DType found, DType wanted) {
  throw InvalidArgument(fmt::format("the elements of a tensor of {} were asked for as {}", name(found), name(wanted)));
}

void check_slice(std::int64_t begin, std::int64_t end, std::int64_t elements) {
  if (begin < 0 || begin > end || end > elements) {
    throw InvalidArgument(fmt::format("elements [{}, {}) of a tensor that has {}", begin, end, elements));
  }
}

void check_reshape(const Shape& from, const Shape& to) {
  if (from.elements() != to.elements()) {
    throw InvalidArgument(fmt::format("shape {} cannot become {}: {} elements against {}", from.to_string(), to.to_string(),
                                      from.elements(), to.elements()));
  }
}

void check_copy(const ConstTensorView& to, const ConstTensorView& from) {
  if (to.present() && from.present() && to.dtype() == from.dtype() && to.elements() == from.elements()) return;
  const auto describe = [](const ConstTensorView& view) {
    return view.present() ? fmt::format("{} of {}", view.shape().to_string(), name(view.dtype()))
                          : std::string("an absent tensor");
  };
  throw InvalidArgument(
      fmt::format("a copy from {} to {}: equal types and numbers of elements are wanted", describe(from), describe(to)));
}

}  // namespace detail

Tensor::Tensor(std::shared_ptr<Buffer> buffer, std::int64_t offset_bytes, DType dtype, Shape shape)
    : buffer_(std::move(buffer)), offset_bytes_(offset_bytes), dtype_(dtype), shape_(shape) {
  const std::int64_t wanted_bytes = shape.elements() * size_bytes(dtype);
  const std::int64_t found_bytes = buffer_ ? buffer_->size_bytes() : 0;
  if (!buffer_ || offset_bytes < 0 || offset_bytes > found_bytes || wanted_bytes > found_bytes - offset_bytes) {
    throw InvalidArgument(fmt::format("a tensor {} of {} wants {} bytes at offset {}: the buffer has {}", shape.to_string(),
                                      name(dtype), wanted_bytes, offset_bytes, found_bytes));
  }
}

TensorView Tensor::view() const {
  if (!buffer_) return {};
  return {static_cast<std::byte*>(buffer_->data()) + offset_bytes_, dtype_, shape_};
}

}  // namespace minim
