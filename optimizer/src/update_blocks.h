#pragma once

#include <cstdint>

#include "minim/optimizer/update_rule.h"

namespace minim {

/// What a rule multiplies by in one segment of one step, computed in FP64 and rounded once.
struct UpdateConstants {
  float unscale = 0;  ///< StepState::unscale * 2^p
  float decay = 0;
  float rate = 0;                                    ///< learning rate; Adam: divided by 1 - beta1^t
  float momentum = 0;                                ///< SGD
  float beta1 = 0, rest1 = 0, beta2 = 0, rest2 = 0;  ///< Adam; rest = 1 - beta
  float deviation_scale = 0;                         ///< Adam: 1 / sqrt(1 - beta2^t)
  float epsilon = 0;                                 ///< Adam
};

/// How weights are written that are not read in the same pass.
enum class WeightStore : std::uint8_t {
  cached,
  streamed,  ///< past the caches; the weights start on a cache line
};

/// The smallest magnitude that rounds to infinity in a type.
constexpr float overflow_limit(DType dtype) {
  if (dtype == DType::fp16) return 65520.0F;
  if (dtype == DType::bf16) return 0x1.FFp127F;
  return __builtin_inff();
}

/// How many partial sums a block of squares is added up in: element i goes to sum i % kSumLanes, then they are added pairwise.
inline constexpr int kSumLanes = 16;

/// The two loops over a block of elements [begin, end) of a slice, in some instruction set.
struct BlockFunctions {
  /// Updates; false when a weight is not finite in its storage type.
  bool (*update)(const ApplyUpdate& args, const UpdateConstants& constants, WeightStore store, std::int64_t begin,
                 std::int64_t end);
  /// The sum of squares in FP64; not finite when and only when an element is not.
  double (*sum_squares)(ConstTensorView gradient, std::int64_t begin, std::int64_t end);
};

/// Vectors, by run-time dispatch.
BlockFunctions vector_blocks();
/// One float at a time.
BlockFunctions reference_blocks();

}  // namespace minim
