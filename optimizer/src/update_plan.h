#pragma once

#include <vector>

#include "minim/optimizer/step_state.h"
#include "minim/optimizer/update_rule.h"
#include "trust_kernels.h"

/// How the work on a slice is cut, for the CPU and a GPU alike.
namespace minim {

/// A piece of a segment that is worked on as one.
struct UpdateBlock {
  std::int64_t begin = 0, end = 0;
  std::int64_t segment = 0;  ///< index
};

/// Pieces of at most `block_elements`, segment by segment.
std::vector<UpdateBlock> cut(const std::vector<UpdateSegment>& segments, std::int64_t block_elements);

/// The blocks whose squares are summed, group by group: those of group g are [group_begins[g], group_begins[g + 1]).
struct CheckBlocks {
  std::vector<UpdateBlock> blocks;
  std::int64_t group_begins[kMaxGroups + 1] = {};
};
CheckBlocks cut_by_group(const std::vector<UpdateSegment>& segments);

/// Throw InvalidArgument where arrays, types and segments do not fit each other.
void check(const ApplyUpdate& args);
void check(const CheckGradients& args);
void check(const MeasureUpdate& args);

/// 2^p, exact.
float wire_scale(int wire_exponent);

}  // namespace minim
