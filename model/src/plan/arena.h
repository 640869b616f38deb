#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace minim {

/// A piece of memory and the kernels, both included, between which it is needed.
struct Lifetime {
  std::int64_t size_bytes = 0;
  int first = 0;
  int last = 0;
};

struct ArenaLayout {
  std::vector<std::int64_t> offsets_bytes;  ///< of every piece, multiples of kAlignmentBytes
  std::int64_t size_bytes = 0;
};

/// Places pieces so that those needed at the same time do not overlap. Deterministic; not optimal, the problem being NP-hard.
ArenaLayout place(std::span<const Lifetime> pieces);

}  // namespace minim
