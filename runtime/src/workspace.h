#pragma once

#include <cstddef>
#include <cstdint>

#include "minim/runtime/memory.h"
#include "minim/runtime/tensor.h"

namespace minim {

/// A piece of a workspace; empty for what needs none.
struct Region {
  std::int64_t offset_bytes = 0;
  std::int64_t size_bytes = 0;

  bool empty() const { return size_bytes == 0; }
  /// Where the piece lies in `workspace`; null when it is empty.
  template <class T = void>
  T* in(TensorView workspace) const {
    return empty() ? nullptr : reinterpret_cast<T*>(static_cast<std::byte*>(workspace.raw()) + offset_bytes);
  }
};

/// Hands out pieces of a workspace, one behind the other, each on a multiple of `kAlignmentBytes`.
class WorkspaceLayout {
 public:
  Region add(std::int64_t size_bytes) {
    const Region region{.offset_bytes = size_bytes_, .size_bytes = size_bytes};
    size_bytes_ += round_up(size_bytes, kAlignmentBytes);
    return region;
  }
  std::int64_t size_bytes() const { return size_bytes_; }

 private:
  std::int64_t size_bytes_ = 0;
};

}  // namespace minim
