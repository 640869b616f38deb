#include "minim/runtime/parameter.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

namespace minim {
namespace {

/// The dimensions that `order` permutes.
const Shape& permuted(const Shape& logical, const Layout& layout) { return layout.split.rank() > 0 ? layout.split : logical; }

void check(const Shape& logical, const Layout& layout) {
  const Shape& dimensions = permuted(logical, layout);
  if (dimensions.elements() != logical.elements()) {
    throw InvalidArgument(
        fmt::format("layout of shape {} for shape {}: as many elements are wanted", dimensions.to_string(), logical.to_string()));
  }
  std::vector<int> sorted = layout.order;
  std::ranges::sort(sorted);
  for (int i = 0; i < static_cast<int>(sorted.size()); ++i) {
    if (static_cast<int>(sorted.size()) != dimensions.rank() || sorted[static_cast<std::size_t>(i)] != i) {
      throw InvalidArgument(fmt::format("layout [{}] for shape {}: every dimension once is wanted", fmt::join(layout.order, ", "),
                                        dimensions.to_string()));
    }
  }
}

void check(const Shape& logical, std::size_t from, std::size_t to) {
  const auto wanted = static_cast<std::size_t>(logical.elements());
  if (from != wanted || to != wanted) {
    throw InvalidArgument(
        fmt::format("{} elements to {} for a parameter of shape {}: {} are wanted", from, to, logical.to_string(), wanted));
  }
}

/// Calls `copy(physical, logical)` with the positions of every element in both orders.
template <class Copy>
void for_each_element(const Shape& shape, const Layout& layout, Copy copy) {
  const Shape& logical = permuted(shape, layout);
  const int rank = logical.rank();
  std::array<std::int64_t, Shape::kMaxRank> logical_strides{}, extents{}, strides{}, index{};
  std::int64_t stride = 1;
  for (int i = rank - 1; i >= 0; --i) {
    logical_strides[static_cast<std::size_t>(i)] = stride;
    stride *= logical[i];
  }
  for (int i = 0; i < rank; ++i) {
    const int from = layout.order.empty() ? i : layout.order[static_cast<std::size_t>(i)];
    extents[static_cast<std::size_t>(i)] = logical[from];
    strides[static_cast<std::size_t>(i)] = logical_strides[static_cast<std::size_t>(from)];
  }
  std::size_t position = 0;  // in logical order
  for (std::size_t physical = 0; physical < static_cast<std::size_t>(logical.elements()); ++physical) {
    copy(physical, position);
    for (int i = rank - 1; i >= 0; --i) {  // count up, like an odometer
      const auto digit = static_cast<std::size_t>(i);
      position += static_cast<std::size_t>(strides[digit]);
      if (++index[digit] < extents[digit]) break;
      position -= static_cast<std::size_t>(strides[digit] * extents[digit]);
      index[digit] = 0;
    }
  }
}

}  // namespace

Shape physical_shape(const Shape& logical, const Layout& layout) {
  check(logical, layout);
  if (layout.order.empty() || layout.split.rank() > 0) return logical;
  std::vector<std::int64_t> dims;
  for (const int from : layout.order) dims.push_back(logical[from]);
  return Shape(dims);
}

void to_logical(const Shape& logical, const Layout& layout, std::span<const float> from, std::span<float> to) {
  check(logical, layout);
  check(logical, from.size(), to.size());
  for_each_element(logical, layout, [&](std::size_t physical, std::size_t position) { to[position] = from[physical]; });
}

void to_physical(const Shape& logical, const Layout& layout, std::span<const float> from, std::span<float> to) {
  check(logical, layout);
  check(logical, from.size(), to.size());
  for_each_element(logical, layout, [&](std::size_t physical, std::size_t position) { to[physical] = from[position]; });
}

}  // namespace minim
