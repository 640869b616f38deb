#pragma once

#include <array>
#include <cstdint>

namespace minim::cpu {

/// Elements whose random words are drawn at once.
inline constexpr std::int64_t kDropoutChunk = 1024;

/// The random words of one sample: those of `philox({block, counter...}, key)` for block 0, 1, ...
struct PhiloxStream {
  std::array<std::uint32_t, 3> counter;
  std::array<std::uint32_t, 2> key;
};

struct DropoutRate {
  float threshold;  ///< a word w is kept where w >> 8 is at least this integer, up to 2^24
  float factor;     ///< of what is kept
};

}  // namespace minim::cpu
