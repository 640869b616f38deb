#pragma once

#include <cstdint>

#include "minim/runtime/parameter.h"

namespace minim {

/// One contiguous piece of memory that kernels of a plan touch. Several tensors may be views of it.
struct Storage {
  enum class Kind : std::uint8_t {
    arena,            ///< needed from its first to its last kernel: placed in the arena
    pinned,           ///< an input or output of the graph: keeps its place
    weight,           ///< of `parameter`
    gradient,         ///< of `parameter`
    committed_state,  ///< of `state`
    pending_state,    ///< of `state`
    loss_scale,
  };
  Kind kind = Kind::arena;
  std::int64_t size_bytes = 0;
  int node = -1;  ///< the operation that asked for it; -1: the graph
  const Parameter* parameter = nullptr;
  const State* state = nullptr;
};

/// Whether a plan's own memory holds it.
constexpr bool is_placed(const Storage& storage) {
  return storage.kind == Storage::Kind::arena || storage.kind == Storage::Kind::pinned;
}

/// Where a tensor lies and how it looks.
struct Slot {
  int storage = -1;
  DType dtype = DType::fp32;
  Shape shape;
};

}  // namespace minim
