#include "trust_kernels.h"

#include <omp.h>

#include <functional>
#include <memory>

#include "cuda_kernels.h"
#include "sum_tree.h"
#include "update_blocks.h"
#include "update_plan.h"

namespace minim {

namespace {

class Measure {
 public:
  Measure(const MeasureUpdate& args, BlockFunctions functions)
      : args_(args),
        functions_(functions),
        blocks_(cut(args.segments, kCheckBlock)),
        weights_(blocks_.size()),
        updates_(blocks_.size()),
        constants_(args.segments.size()) {
    check(args);
  }

  void operator()() {
    const auto& state = *static_cast<const StepState*>(args_.state.raw());
    if (state.last_applied == 0) return;
    const RuleNumbers rule = numbers_of(args_.rule);
    const float scale = wire_scale(args_.wire_exponent);
    for (std::size_t s = 0; s < constants_.size(); ++s) constants_[s] = constants_of(rule, args_.segments[s], state, scale, 1);
    const auto blocks = static_cast<std::int64_t>(blocks_.size());
#pragma omp parallel for schedule(static) if (blocks > 1)
    for (std::int64_t b = 0; b < blocks; ++b) {
      const auto at = static_cast<std::size_t>(b);
      const UpdateBlock& block = blocks_[at];
      const UpdateConstants& constants = constants_[static_cast<std::size_t>(block.segment)];
      const ParameterSquares squares = functions_.measure(args_, constants, block.begin, block.end);
      weights_[at] = squares.weight;
      updates_[at] = squares.update;
    }
    auto* const squares = static_cast<ParameterSquares*>(args_.squares.raw());
    for (std::size_t begin = 0, end = 0; begin < blocks_.size(); begin = end) {  // blocks of a segment are neighbours
      while (end < blocks_.size() && blocks_[end].segment == blocks_[begin].segment) ++end;
      const auto count = static_cast<std::int64_t>(end - begin);
      squares[args_.segments[static_cast<std::size_t>(blocks_[begin].segment)].parameter] = {
          .weight = add_pairwise(weights_.data() + begin, count), .update = add_pairwise(updates_.data() + begin, count)};
    }
  }

 private:
  MeasureUpdate args_;
  BlockFunctions functions_;
  std::vector<UpdateBlock> blocks_;
  std::vector<double> weights_, updates_;   // sums of squares, of each block
  std::vector<UpdateConstants> constants_;  // of each segment
};

Kernel<MeasureUpdate> measure_kernel(BlockFunctions functions) {
  return prepared_host_kernel<MeasureUpdate>([functions](const MeasureUpdate& args) -> std::function<void()> {
    return [work = std::make_shared<Measure>(args, functions)] { (*work)(); };
  });
}

void fold(const FoldSquares& args) {
  const RuleNumbers rule = numbers_of(args.rule);
  const auto* const squares = static_cast<const ParameterSquares*>(args.squares.raw());
  const auto parameters = static_cast<std::int64_t>(args.parameters.size());
  const std::int64_t ranks = args.squares.size_bytes() / (parameters * static_cast<std::int64_t>(sizeof(ParameterSquares)));
  auto* const ratios = args.ratios.data<float>();
  for (std::int64_t p = 0; p < parameters; ++p) {
    ratios[p] = trust_ratio(rule, args.parameters[static_cast<std::size_t>(p)], squares + p, parameters, ranks);
  }
}

}  // namespace

void add_trust_kernels(Backend& backend) {
  if (add_cuda_kernels(backend)) return;
  const BlockFunctions functions = backend.name() == "reference" ? reference_blocks() : vector_blocks();
  if (!backend.has_kernel<MeasureUpdate>()) backend.add_kernel(measure_kernel(functions), backend.name());
  if (!backend.has_kernel<FoldSquares>()) backend.add_kernel(host_kernel<FoldSquares>(fold), backend.name());
}

}  // namespace minim
