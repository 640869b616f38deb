#pragma once

#include <algorithm>
#include <cstdint>

#include "minim/runtime/memory.h"

namespace minim::detail {

/// A range of elements.
struct Range {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t length() const { return end - begin; }
  bool empty() const { return end <= begin; }
};

/// Ranks, lanes and pieces meet on multiples of this, so that no two write to one cache line or one vector.
inline constexpr std::int64_t kGrain = 64;

/// Part `index` of `count` parts of [0, elements), all but the last ones equally long.
inline Range part_of(std::int64_t elements, int count, int index) {
  const std::int64_t stride = round_up((elements + count - 1) / count, kGrain);
  return {std::min(elements, index * stride), std::min(elements, (index + 1) * stride)};
}

/// How a message is cut: into slices, one for each rank (or one in all), and each slice into pieces of `piece` elements. Piece p
/// of the message is piece p of every slice.
struct Slices {
  std::int64_t elements = 0;
  int count = 1;
  std::int64_t stride = 0;  ///< slice s is [s * stride, (s + 1) * stride), as far as there are elements
  std::int64_t piece = 0;

  std::int64_t pieces() const { return piece == 0 ? 0 : (std::min(stride, elements) + piece - 1) / piece; }
  /// Where piece p of slice s lies in the message.
  Range range(int s, std::int64_t p) const {
    const std::int64_t end = std::min(elements, std::min((s + std::int64_t{1}) * stride, s * stride + (p + 1) * piece));
    return {std::min(end, s * stride + p * piece), end};
  }
};

}  // namespace minim::detail
