#include <fmt/core.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <string_view>

#include "minim/optimizer/step_state.h"
#include "minim/runtime/error.h"
#include "update_blocks.h"

namespace minim {

namespace {

/// A piece of a segment that one thread works on.
struct Block {
  std::int64_t begin = 0, end = 0;
  std::size_t segment = 0;
};

/// Large enough to hide the dispatch, small enough to spread a slice over threads.
constexpr std::int64_t kUpdateBlock = 32768;
/// Part of the fixed tree that sums of squares are added in.
constexpr std::int64_t kCheckBlock = 4096;
/// Above so many elements the weights of a pass would be evicted before the all-gather reads them: they are written past the
/// caches.
constexpr std::int64_t kStreamElements = 4 << 20;

std::vector<Block> cut(const std::vector<UpdateSegment>& segments, std::int64_t block_elements) {
  std::vector<Block> blocks;
  for (std::size_t segment = 0; segment < segments.size(); ++segment) {
    for (std::int64_t begin = segments[segment].begin; begin < segments[segment].end; begin += block_elements) {
      blocks.push_back({begin, std::min(begin + block_elements, segments[segment].end), segment});
    }
  }
  return blocks;
}

void require(bool holds, std::string_view what) {
  if (!holds) throw InvalidArgument(fmt::format("update kernel: {}", what));
}

void check_segments(const std::vector<UpdateSegment>& segments, std::int64_t elements) {
  for (const UpdateSegment& segment : segments) {
    require(0 <= segment.begin && segment.begin <= segment.end && segment.end <= elements, "a segment lies outside of its slice");
    require(0 <= segment.group && segment.group < kMaxGroups, fmt::format("a group is not one of {}", kMaxGroups));
  }
}

void check(const ApplyUpdate& args) {
  const std::int64_t n = args.weight.elements();
  check_segments(args.segments, n);
  const auto is_array = [n](const TensorView& view) {
    return view.present() && view.dtype() == DType::fp32 && view.elements() == n;
  };
  require(args.gradient.elements() == n, "gradients and weights differ in number");
  require(args.gradient.dtype() == args.weight.dtype() || args.gradient.dtype() == DType::fp32,
          "gradients are neither FP32 nor of the weights' type");
  require(!args.master.present() || args.weight.dtype() != DType::fp32, "FP32 weights are their own master");
  require(!args.master.present() || is_array(args.master), "master weights are not FP32 or not as many as weights");
  require(moments(args.rule) < 1 || is_array(args.moment1), "first moments are absent, not FP32 or not as many as weights");
  require(moments(args.rule) < 2 || is_array(args.moment2), "second moments are absent, not FP32 or not as many as weights");
  require(args.overflow.present(), "the overflow flag is absent");
}

UpdateConstants constants_of(const ApplyUpdate& args, const UpdateSegment& segment, const StepState& state) {
  UpdateConstants constants;
  constants.unscale = std::ldexp(state.unscale[segment.group], args.wire_exponent);
  constants.decay = segment.weight_decay;
  double rate = static_cast<double>(state.learning_rate) * static_cast<double>(segment.learning_rate_factor);
  if (const auto* sgd = std::get_if<SgdRule>(&args.rule)) {
    constants.momentum = static_cast<float>(sgd->momentum);
  } else {
    const auto& adam = std::get<AdamRule>(args.rule);
    const auto step = static_cast<double>(state.applied);
    constants.beta1 = static_cast<float>(adam.beta1);
    constants.rest1 = static_cast<float>(1 - adam.beta1);
    constants.beta2 = static_cast<float>(adam.beta2);
    constants.rest2 = static_cast<float>(1 - adam.beta2);
    constants.deviation_scale = static_cast<float>(1 / std::sqrt(1 - std::pow(adam.beta2, step)));
    constants.epsilon = static_cast<float>(adam.epsilon);
    rate /= 1 - std::pow(adam.beta1, step);
  }
  constants.rate = static_cast<float>(rate);
  return constants;
}

class Update {
 public:
  Update(const ApplyUpdate& args, BlockFunctions functions)
      : args_(args), functions_(functions), blocks_(cut(args.segments, kUpdateBlock)), constants_(args.segments.size()) {
    check(args);
  }

  void operator()() {
    const auto& state = *static_cast<const StepState*>(args_.state.raw());
    if (state.last_applied == 0) return;
    for (std::size_t s = 0; s < constants_.size(); ++s) constants_[s] = constants_of(args_, args_.segments[s], state);
    std::int32_t worst = kNoOverflow;
    const auto blocks = static_cast<std::int64_t>(blocks_.size());
#pragma omp parallel for schedule(static) reduction(min : worst) if (blocks > 1)
    for (std::int64_t b = 0; b < blocks; ++b) {
      const Block& block = blocks_[static_cast<std::size_t>(b)];
      const bool finite = functions_.update(args_, constants_[block.segment], store_of(block), block.begin, block.end);
      if (!finite) worst = std::min(worst, args_.segments[block.segment].parameter);
    }
    auto& overflow = *args_.overflow.data<std::int32_t>();
    overflow = std::min(overflow, worst);
  }

 private:
  WeightStore store_of(const Block& block) const {
    const auto address = reinterpret_cast<std::uintptr_t>(args_.weight.raw()) +
                         static_cast<std::uintptr_t>(block.begin * size_bytes(args_.weight.dtype()));
    const bool streams = args_.master.present() && args_.weight.elements() >= kStreamElements && address % kAlignmentBytes == 0;
    return streams ? WeightStore::streamed : WeightStore::cached;
  }

  ApplyUpdate args_;
  BlockFunctions functions_;
  std::vector<Block> blocks_;
  std::vector<UpdateConstants> constants_;  // of each segment
};

std::int64_t count_non_finite(ConstTensorView gradient, std::int64_t begin, std::int64_t end) {
  return dispatch_floating(gradient.dtype(), [&](auto type) {
    const auto* values = gradient.data<decltype(type)>();
    return static_cast<std::int64_t>(
        std::count_if(values + begin, values + end, [](auto value) { return !std::isfinite(to_float(value)); }));
  });
}

/// Halves of halves: the error grows with the logarithm of the number.
double add_pairwise(std::span<const double> sums) {
  if (sums.empty()) return 0;
  if (sums.size() == 1) return sums[0];
  return add_pairwise(sums.first(sums.size() / 2)) + add_pairwise(sums.subspan(sums.size() / 2));
}

class Check {
 public:
  Check(const CheckGradients& args, BlockFunctions functions)
      : args_(args), functions_(functions), blocks_(cut(args.segments, kCheckBlock)), sums_(blocks_.size()) {
    check_segments(args.segments, args.gradient.elements());
    const auto group_of = [this](const Block& block) { return args_.segments[block.segment].group; };
    std::stable_sort(blocks_.begin(), blocks_.end(), [&](const Block& a, const Block& b) { return group_of(a) < group_of(b); });
    for (int group = 0; group <= kMaxGroups; ++group) {
      const auto first =
          std::find_if(blocks_.begin(), blocks_.end(), [&](const Block& block) { return group_of(block) >= group; });
      group_begins_[group] = static_cast<std::size_t>(first - blocks_.begin());
    }
  }

  void operator()() {
    auto& record = *static_cast<AgreementRecord*>(args_.record.raw());
    const auto blocks = static_cast<std::int64_t>(blocks_.size());
#pragma omp parallel for schedule(static) if (blocks > 1)
    for (std::int64_t b = 0; b < blocks; ++b) {
      const Block& block = blocks_[static_cast<std::size_t>(b)];
      sums_[static_cast<std::size_t>(b)] = functions_.sum_squares(args_.gradient, block.begin, block.end);
    }
    for (std::size_t b = 0; b < blocks_.size(); ++b) {
      if (!std::isfinite(sums_[b])) record_bad(record, blocks_[b], sums_[b]);
    }
    const auto& state = *static_cast<const StepState*>(args_.state.raw());
    const double unscale = std::ldexp(1.0 / static_cast<double>(state.loss_scale), args_.wire_exponent);
    for (int group = 0; group < kMaxGroups; ++group) {
      const auto sums = std::span(sums_).subspan(group_begins_[group], group_begins_[group + 1] - group_begins_[group]);
      record.sum_squares[group] += add_pairwise(sums) * unscale * unscale;
    }
  }

 private:
  void record_bad(AgreementRecord& record, const Block& block, double& sum) const {
    record.non_finite += count_non_finite(args_.gradient, block.begin, block.end);
    const std::int32_t parameter = args_.segments[block.segment].parameter;
    if (record.first_bad_parameter < 0 || parameter < record.first_bad_parameter) record.first_bad_parameter = parameter;
    sum = 0;
  }

  CheckGradients args_;
  BlockFunctions functions_;
  std::vector<Block> blocks_;  // group by group
  std::size_t group_begins_[kMaxGroups + 1] = {};
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
  const bool reference = backend.name() == "reference";
  const BlockFunctions functions = reference ? reference_blocks() : vector_blocks();
  if (!backend.has_kernel<ApplyUpdate>()) backend.add_kernel(block_kernel<Update, ApplyUpdate>(functions), backend.name());
  if (!backend.has_kernel<CheckGradients>()) backend.add_kernel(block_kernel<Check, CheckGradients>(functions), backend.name());
}

}  // namespace minim
