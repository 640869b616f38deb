#include "minim/runtime/shape.h"

#include <fmt/format.h>

#include <algorithm>

#include "minim/runtime/error.h"

namespace minim {
namespace {

std::int64_t product(std::span<const std::int64_t> dims, const Shape& shape) {
  if (std::ranges::find(dims, Shape::kBatch) != dims.end()) {
    throw InvalidArgument(fmt::format("shape {} has no number of elements before its batch is known", shape.to_string()));
  }
  if (std::ranges::find(dims, 0) != dims.end()) return 0;
  std::int64_t elements = 1;
  for (const std::int64_t dim : dims) {
    if (__builtin_mul_overflow(elements, dim, &elements)) {
      throw InvalidArgument(fmt::format("shape {} has more elements than 64 bits can count", shape.to_string()));
    }
  }
  return elements;
}

}  // namespace

Shape::Shape(std::initializer_list<std::int64_t> dims) : Shape(std::span(dims.begin(), dims.size())) {}

Shape::Shape(std::span<const std::int64_t> dims) {
  if (dims.size() > kMaxRank)
    throw InvalidArgument(fmt::format("a shape of rank {}: at most {} is supported", dims.size(), kMaxRank));
  for (const std::int64_t dim : dims) {
    if (dim < 0 && dim != kBatch) throw InvalidArgument(fmt::format("dimension {} of a shape: 0 or more is wanted", dim));
    dims_[static_cast<std::size_t>(rank_++)] = dim;
  }
}

std::int64_t Shape::operator[](int i) const {
  const int position = i < 0 ? i + rank_ : i;
  if (position < 0 || position >= rank_)
    throw InvalidArgument(fmt::format("dimension {} of shape {}, of rank {}", i, to_string(), rank_));
  return dims_[static_cast<std::size_t>(position)];
}

std::int64_t Shape::elements() const { return product(dims(), *this); }

std::int64_t Shape::elements_per_sample() const {
  if (rank_ == 0) throw InvalidArgument("a shape of rank 0 has no samples");
  return product(dims().subspan(1), *this);
}

bool Shape::has_batch() const { return std::ranges::find(dims(), kBatch) != dims().end(); }

Shape Shape::with_batch(std::int64_t batch) const {
  if (batch < 0) throw InvalidArgument(fmt::format("a batch of {} samples: 0 or more is wanted", batch));
  Shape shape = *this;
  std::ranges::replace(shape.dims_, kBatch, batch);
  return shape;
}

std::string Shape::to_string() const {
  std::string text = "[";
  for (int i = 0; i < rank_; ++i) {
    const std::int64_t dim = dims_[static_cast<std::size_t>(i)];
    text += i == 0 ? "" : ", ";
    text += dim == kBatch ? "N" : std::to_string(dim);
  }
  return text + "]";
}

}  // namespace minim
