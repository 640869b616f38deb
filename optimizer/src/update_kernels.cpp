#include <omp.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>

#include "cuda_kernels.h"
#include "minim/optimizer/step_state.h"
#include "sum_tree.h"
#include "update_blocks.h"
#include "update_constants.h"
#include "update_plan.h"

namespace minim {

namespace {

/// Large enough to hide the dispatch, small enough to spread a slice over threads.
constexpr std::int64_t kUpdateBlock = 32768;
/// Above so many elements the weights of a pass would be evicted before the all-gather reads them: they are written past the
/// caches.
constexpr std::int64_t kStreamElements = 4 << 20;

class Update {
 public:
  Update(const ApplyUpdate& args, BlockFunctions functions)
      : args_(args), functions_(functions), blocks_(cut(args.segments, kUpdateBlock)), constants_(args.segments.size()) {
    check(args);
  }

  void operator()() {
    const auto& state = *static_cast<const StepState*>(args_.state.raw());
    if (state.last_applied == 0) return;
    const RuleNumbers rule = numbers_of(args_.rule);
    const float scale = wire_scale(args_.wire_exponent);
    for (std::size_t s = 0; s < constants_.size(); ++s) {
      const UpdateSegment& segment = args_.segments[s];
      const float ratio = args_.ratios.present() ? args_.ratios.data<float>()[segment.parameter] : 1.0F;
      constants_[s] = constants_of(rule, segment, state, scale, ratio);
    }
    std::int32_t worst = kNoOverflow;
    const auto blocks = static_cast<std::int64_t>(blocks_.size());
#pragma omp parallel for schedule(static) reduction(min : worst) if (blocks > 1)
    for (std::int64_t b = 0; b < blocks; ++b) {
      const UpdateBlock& block = blocks_[static_cast<std::size_t>(b)];
      const auto segment = static_cast<std::size_t>(block.segment);
      const bool finite = functions_.update(args_, constants_[segment], store_of(block), block.begin, block.end);
      if (!finite) worst = std::min(worst, args_.segments[segment].parameter);
    }
    auto& overflow = *args_.overflow.data<std::int32_t>();
    overflow = std::min(overflow, worst);
  }

 private:
  WeightStore store_of(const UpdateBlock& block) const {
    const auto address = reinterpret_cast<std::uintptr_t>(args_.weight.raw()) +
                         static_cast<std::uintptr_t>(block.begin * size_bytes(args_.weight.dtype()));
    const bool streams = args_.master.present() && args_.weight.elements() >= kStreamElements && address % kAlignmentBytes == 0;
    return streams ? WeightStore::streamed : WeightStore::cached;
  }

  ApplyUpdate args_;
  BlockFunctions functions_;
  std::vector<UpdateBlock> blocks_;
  std::vector<UpdateConstants> constants_;  // of each segment
};

std::int64_t count_non_finite(ConstTensorView gradient, std::int64_t begin, std::int64_t end) {
  return dispatch_floating(gradient.dtype(), [&](auto type) {
    const auto* values = gradient.data<decltype(type)>();
    return static_cast<std::int64_t>(
        std::count_if(values + begin, values + end, [](auto value) { return !std::isfinite(to_float(value)); }));
  });
}

class Check {
 public:
  Check(const CheckGradients& args, BlockFunctions functions)
      : args_(args), functions_(functions), cut_(cut_by_group(args.segments)), sums_(cut_.blocks.size()) {
    check(args);
  }

  void operator()() {
    auto& record = *static_cast<AgreementRecord*>(args_.record.raw());
    const auto blocks = static_cast<std::int64_t>(cut_.blocks.size());
#pragma omp parallel for schedule(static) if (blocks > 1)
    for (std::int64_t b = 0; b < blocks; ++b) {
      const UpdateBlock& block = cut_.blocks[static_cast<std::size_t>(b)];
      sums_[static_cast<std::size_t>(b)] = functions_.sum_squares(args_.gradient, block.begin, block.end);
    }
    for (std::size_t b = 0; b < sums_.size(); ++b) {
      if (!std::isfinite(sums_[b])) record_bad(record, cut_.blocks[b], sums_[b]);
    }
    const auto& state = *static_cast<const StepState*>(args_.state.raw());
    const double unscale = unscale_for_norms(state, wire_scale(args_.wire_exponent));
    for (int group = 0; group < kMaxGroups; ++group) {
      const std::int64_t begin = cut_.group_begins[group];
      record.sum_squares[group] += add_pairwise(sums_.data() + begin, cut_.group_begins[group + 1] - begin) * unscale * unscale;
    }
  }

 private:
  void record_bad(AgreementRecord& record, const UpdateBlock& block, double& sum) const {
    record.non_finite += count_non_finite(args_.gradient, block.begin, block.end);
    const std::int32_t parameter = args_.segments[static_cast<std::size_t>(block.segment)].parameter;
    if (record.first_bad_parameter < 0 || parameter < record.first_bad_parameter) record.first_bad_parameter = parameter;
    sum = 0;
  }

  CheckGradients args_;
  BlockFunctions functions_;
  CheckBlocks cut_;
  std::vector<double> sums_;  // of squares, of each block
};

template <class Work, class Args>
Kernel<Args> block_kernel(BlockFunctions functions) {
  return prepared_host_kernel<Args>([functions](const Args& args) -> std::function<void()> {
    return [work = std::make_shared<Work>(args, functions)] { (*work)(); };
  });
}

}  // namespace

void add_update_kernels(Backend& backend) {
  if (add_cuda_kernels(backend)) return;
  const bool reference = backend.name() == "reference";
  const BlockFunctions functions = reference ? reference_blocks() : vector_blocks();
  if (!backend.has_kernel<ApplyUpdate>()) backend.add_kernel(block_kernel<Update, ApplyUpdate>(functions), backend.name());
  if (!backend.has_kernel<CheckGradients>()) backend.add_kernel(block_kernel<Check, CheckGradients>(functions), backend.name());
}

}  // namespace minim
