#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "minim/model/plan.h"
#include "plan/memory_map.h"
#include "plan/recording.h"

namespace minim {

/// A kernel of a pass, ready to be launched.
struct Step {
  std::array<const KernelCall*, 2> calls{};  ///< [accumulate]; null: nothing to do
  TensorView gathered;                       ///< from all ranks, in the place of a kernel; may be absent
  std::string gather_label;
  std::vector<const Parameter*> used_first;      ///< weights that no kernel of the pass before reads
  std::vector<const Parameter*> gradient_ready;  ///< gradients that no kernel of the pass after writes
  int cost = -1;                                 ///< its index among the plan's costs; -1: it clears a gradient
  std::vector<CompletedTensor> completed;        ///< when it has run
};

struct Passes {
  std::vector<std::unique_ptr<KernelCall>> calls;
  std::vector<Step> forward;
  std::vector<Step> backward;
};

/// Where a plan's memory begins.
struct Blocks {
  std::byte* arena = nullptr;
  std::byte* workspace = nullptr;
  std::byte* pinned = nullptr;
};

/// Walks the graph again, with memory assigned, and prepares its kernels. Throws InvalidArgument where a parameter or state has
/// not been placed as the plan wants it, or where an operation does not do what it did in the first walk.
Passes prepare_passes(const Graph& graph, const Backend& backend, const CompileOptions& options, const Recording& recording,
                      const MemoryMap& map, const Blocks& blocks, ConstTensorView loss_scale);

}  // namespace minim
