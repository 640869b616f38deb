#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "minim/runtime/dtype.h"
#include "minim/runtime/memory.h"
#include "minim/runtime/shape.h"

namespace minim {

namespace detail {
[[noreturn]] void throw_dtype_mismatch(DType found, DType wanted);
void check_slice(std::int64_t begin, std::int64_t end, std::int64_t elements);
void check_reshape(const Shape& from, const Shape& to);
}  // namespace detail

/// Borrows a dense tensor for reading. Empty by default: an optional argument that is absent.
class ConstTensorView {
 public:
  ConstTensorView() = default;
  ConstTensorView(const void* data, DType dtype, Shape shape) : data_(data), dtype_(dtype), shape_(shape), present_(true) {}

  /// False for an argument that was left out; a tensor of zero elements, or one not yet placed in memory, is present.
  bool present() const { return present_; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  std::int64_t elements() const { return present_ ? shape_.elements() : 0; }
  std::int64_t size_bytes() const { return elements() * minim::size_bytes(dtype_); }

  const void* raw() const { return data_; }
  /// Throws InvalidArgument when the element type is another.
  template <class T>
  const T* data() const {
    if (kDType<T> != dtype_) detail::throw_dtype_mismatch(dtype_, kDType<T>);
    return static_cast<const T*>(data_);
  }
  template <class T>
  std::span<const T> span() const {
    return {data<T>(), static_cast<std::size_t>(elements())};
  }

 protected:
  const void* data_ = nullptr;
  DType dtype_ = DType::fp32;
  Shape shape_;
  bool present_ = false;
};

/// Borrows a dense tensor for reading and writing.
class TensorView : public ConstTensorView {
 public:
  TensorView() = default;
  TensorView(void* data, DType dtype, Shape shape) : ConstTensorView(data, dtype, shape) {}

  void* raw() const { return const_cast<void*>(data_); }
  template <class T>
  T* data() const {
    return const_cast<T*>(ConstTensorView::data<T>());
  }
  template <class T>
  std::span<T> span() const {
    return {data<T>(), static_cast<std::size_t>(elements())};
  }

  /// Elements [begin, end) of the flattened tensor, as rank 1.
  TensorView slice(std::int64_t begin, std::int64_t end) const {
    detail::check_slice(begin, end, elements());
    return {static_cast<std::byte*>(raw()) + begin * minim::size_bytes(dtype_), dtype_, Shape{end - begin}};
  }
  /// The same elements in another shape.
  TensorView reshaped(Shape shape) const {
    detail::check_reshape(shape_, shape);
    return {raw(), dtype_, shape};
  }
};

namespace detail {
/// Throws InvalidArgument unless a copy is possible: equal types, equal numbers of elements.
void check_copy(const ConstTensorView& to, const ConstTensorView& from);
}  // namespace detail

/// A cheap handle on a dense tensor that keeps its memory alive.
class Tensor {
 public:
  Tensor() = default;
  /// `buffer` holds at least the shape's bytes behind `offset_bytes`.
  Tensor(std::shared_ptr<Buffer> buffer, std::int64_t offset_bytes, DType dtype, Shape shape);

  TensorView view() const;
  operator TensorView() const { return view(); }
  operator ConstTensorView() const { return view(); }

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  std::int64_t elements() const { return buffer_ ? shape_.elements() : 0; }
  template <class T>
  std::span<T> span() const {
    return view().span<T>();
  }

 private:
  std::shared_ptr<Buffer> buffer_;
  std::int64_t offset_bytes_ = 0;
  DType dtype_ = DType::fp32;
  Shape shape_;
};

}  // namespace minim
