#pragma once

#include <cstdint>

#include "minim/runtime/host_device.h"

/// The one tree that squares of gradients are added up in, whatever the number of threads and lanes: kCheckBlock elements of a
/// segment make a block; element i of a block goes to lane i % kSumLanes; lanes, and then blocks, are added pairwise.
namespace minim {

inline constexpr std::int64_t kCheckBlock = 4096;
inline constexpr int kSumLanes = 16;

/// Adds the lanes of a block up; destroys them.
MINIM_HOST_DEVICE inline double add_lanes(double* lanes) {
  for (int width = kSumLanes / 2; width > 0; width /= 2) {
    for (int lane = 0; lane < width; ++lane) lanes[lane] += lanes[lane + width];
  }
  return lanes[0];
}

/// A node of the tree over a range: part of what is left after halving it `depth` times.
struct SumNode {
  std::int64_t begin = 0, count = 0;
};

/// Node `index` of the 2^depth nodes that halving [0, count) makes; of odd numbers the second half is the larger one.
MINIM_HOST_DEVICE inline SumNode sum_node(std::int64_t count, int depth, std::int64_t index) {
  SumNode node{0, count};
  for (int level = depth - 1; level >= 0; --level) {
    const std::int64_t half = node.count / 2;
    if ((index >> level) % 2 != 0) {
      node.begin += half;
      node.count -= half;
    } else {
      node.count = half;
    }
  }
  return node;
}

/// The sum of halves of halves: the error grows with the logarithm of the number. No value is negative, so that an empty half
/// adds nothing. A node's sum is the sum of the nodes 2 i and 2 i + 1 below it.
MINIM_HOST_DEVICE inline double add_pairwise(const double* values, std::int64_t count) {
  constexpr int kMaxDepth = 40;
  int depth = 0;
  while ((std::int64_t{1} << depth) < count) ++depth;
  double left[kMaxDepth + 1];  // by height: sums of left halves whose right halves are still to come
  for (std::int64_t leaf = 0; leaf < std::int64_t{1} << depth; ++leaf) {
    const SumNode node = sum_node(count, depth, leaf);
    double sum = node.count > 0 ? values[node.begin] : 0;
    int height = 0;
    for (; (leaf >> height) % 2 != 0; ++height) sum = left[height] + sum;
    left[height] = sum;
  }
  return left[depth];
}

}  // namespace minim
