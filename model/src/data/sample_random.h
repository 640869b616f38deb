#pragma once

#include <array>
#include <cstdint>

#include "minim/model/data/dataset.h"
#include "minim/runtime/philox.h"

namespace minim {

/// Random words of a training sample; `draw` tells those for one purpose from those for another. The same at any number of ranks
/// and threads, and others each time that the stream comes to the same image.
inline std::array<std::uint32_t, 4> random_words(const SampleKey& key, std::uint32_t draw) {
  constexpr std::uint32_t kDomain = 0x61756765;  // apart from other users of the same seed
  const auto position = static_cast<std::uint64_t>(key.position);
  return philox({static_cast<std::uint32_t>(position), static_cast<std::uint32_t>(position >> 32U), draw, 0},
                {static_cast<std::uint32_t>(key.seed) ^ kDomain, static_cast<std::uint32_t>(key.seed >> 32U)});
}

/// Uniform in [0, bound) for a random word. The bias of the multiplication is below bound / 2^32.
inline std::int64_t below(std::int64_t bound, std::uint32_t word) {
  return static_cast<std::int64_t>((std::uint64_t{word} * static_cast<std::uint64_t>(bound)) >> 32U);
}

}  // namespace minim
