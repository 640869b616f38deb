#pragma once

#include <cstdint>
#include <vector>

#include "minim/model/plan.h"
#include "plan/recording.h"

namespace minim {

/// Where every storage of a plan lies: an offset in the arena or, for inputs and outputs of the graph, in a block of their own.
struct MemoryMap {
  std::vector<std::int64_t> offsets_bytes;  ///< per storage; -1 where it is not the plan's own or nobody needs it
  PlanMemory memory;
};

MemoryMap map_memory(const Recording& recording, bool reuse);

}  // namespace minim
