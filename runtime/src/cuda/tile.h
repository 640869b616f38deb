#pragma once

#include <cstdint>

namespace minim::cuda {

/// How many of a block's threads lie along the contiguous dimension of a matrix; the others are on rows of their own. A power of
/// two that divides kWarpThreads or is divided by it.
constexpr int lanes_for(std::int64_t columns, int most) {
  int lanes = 1;
  while (lanes < most && lanes < columns) lanes *= 2;
  return lanes;
}

}  // namespace minim::cuda
