#pragma once

#include <cstdint>

#include "minim/optimizer/update_rule.h"
#include "sum_tree.h"
#include "trust_kernels.h"
#include "update_constants.h"

namespace minim {

/// How weights are written that are not read in the same pass.
enum class WeightStore : std::uint8_t {
  cached,
  streamed,  ///< past the caches; the weights start on a cache line
};

/// The smallest magnitude that rounds to infinity in a type.
MINIM_HOST_DEVICE constexpr float overflow_limit(DType dtype) {
  if (dtype == DType::fp16) return 65520.0F;
  if (dtype == DType::bf16) return 0x1.FFp127F;
  return __builtin_inff();
}

/// The loops over a block of elements [begin, end) of a slice, in some instruction set.
struct BlockFunctions {
  /// Updates; false when a weight is not finite in its storage type.
  bool (*update)(const ApplyUpdate& args, const UpdateConstants& constants, WeightStore store, std::int64_t begin,
                 std::int64_t end);
  /// The sum of squares in FP64; not finite when and only when an element is not.
  double (*sum_squares)(ConstTensorView gradient, std::int64_t begin, std::int64_t end);
  /// The sums of squares that a trust ratio is made of.
  ParameterSquares (*measure)(const MeasureUpdate& args, const UpdateConstants& constants, std::int64_t begin, std::int64_t end);
};

/// Vectors, by run-time dispatch.
BlockFunctions vector_blocks();
/// One float at a time.
BlockFunctions reference_blocks();

}  // namespace minim
