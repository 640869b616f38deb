#pragma once

#include <string>
#include <vector>

#include "minim/model/graph.h"
#include "minim/model/plan.h"
#include "plan/storage.h"
#include "plan/walk.h"

namespace minim {

/// One kernel as the first walk saw it.
struct KernelRecord {
  int node = -1;
  bool backward = false;
  bool can_accumulate = false;
  bool gathers = false;  ///< no kernel, but a gathering from all ranks
  std::string name;      ///< of the argument type
  std::string kernel_set;
  WorkspaceSize workspace = 0;
  std::int64_t bytes = 0;  ///< of all tensors that it touches
  double flops = 0;
  std::vector<int> reads;   ///< storages
  std::vector<int> writes;  ///< storages
  std::vector<InPlace> in_place;

  bool live = true;  ///< whether anybody needs what it writes
  /// Gradients that it adds to because of what it cannot do in one call, although nobody has written them before: to be zeroed.
  std::vector<int> zero_first;
  /// Whether it adds also where a pass overwrites: an earlier kernel of the pass has written its gradient.
  bool always_accumulates = false;
};

/// Everything that a plan is made from: what kernels a graph consists of and which memory they touch.
struct Recording {
  std::vector<Storage> storages;
  std::vector<Slot> values;  ///< of the graph
  std::vector<KernelRecord> kernels;
};

/// Walks the graph without memory. Throws InvalidArgument where an operation reads what nobody writes, or writes the gradient of
/// a parameter with a kernel that cannot accumulate.
Recording record(const Graph& graph, const Backend& backend, const CompileOptions& options);

/// Parameters whose weight this kernel reads and no live one of its pass before it.
std::vector<const Parameter*> first_weight_uses(const Recording& recording, std::size_t kernel);
/// Parameters whose gradient this kernel writes and none after it.
std::vector<const Parameter*> completed_gradients(const Recording& recording, std::size_t kernel);

}  // namespace minim
