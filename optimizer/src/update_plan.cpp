#include "update_plan.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "minim/runtime/error.h"
#include "sum_tree.h"

namespace minim {

namespace {

void require(bool holds, std::string_view what) {
  if (!holds) throw InvalidArgument(fmt::format("update kernel: {}", what));
}

void check_segments(const std::vector<UpdateSegment>& segments, std::int64_t elements) {
  for (const UpdateSegment& segment : segments) {
    require(0 <= segment.begin && segment.begin <= segment.end && segment.end <= elements, "a segment lies outside of its slice");
    require(0 <= segment.group && segment.group < kMaxGroups, fmt::format("a group is not one of {}", kMaxGroups));
  }
}

}  // namespace

std::vector<UpdateBlock> cut(const std::vector<UpdateSegment>& segments, std::int64_t block_elements) {
  std::vector<UpdateBlock> blocks;
  for (std::size_t segment = 0; segment < segments.size(); ++segment) {
    for (std::int64_t begin = segments[segment].begin; begin < segments[segment].end; begin += block_elements) {
      blocks.push_back({begin, std::min(begin + block_elements, segments[segment].end), static_cast<std::int64_t>(segment)});
    }
  }
  return blocks;
}

CheckBlocks cut_by_group(const std::vector<UpdateSegment>& segments) {
  CheckBlocks result{.blocks = cut(segments, kCheckBlock)};
  auto& blocks = result.blocks;
  const auto group_of = [&](const UpdateBlock& block) { return segments[static_cast<std::size_t>(block.segment)].group; };
  std::ranges::stable_sort(blocks, {}, group_of);
  for (int group = 0; group <= kMaxGroups; ++group) {
    result.group_begins[group] = std::ranges::lower_bound(blocks, group, {}, group_of) - blocks.begin();
  }
  return result;
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
  require(!has_trust_ratios(args.rule) || args.ratios.present(), "trust ratios are absent");
  require(args.overflow.present(), "the overflow flag is absent");
}

void check(const MeasureUpdate& args) {
  const std::int64_t n = args.weight.elements();
  check_segments(args.segments, n);
  require(has_trust_ratios(args.rule), "the rule has no trust ratios to measure");
  require(args.gradient.elements() == n, "gradients and weights differ in number");
  require(args.gradient.dtype() == args.weight.dtype() || args.gradient.dtype() == DType::fp32,
          "gradients are neither FP32 nor of the weights' type");
  for (const ConstTensorView* moment : {&args.moment1, &args.moment2}) {
    require(moments(args.rule) < 2 || (moment->dtype() == DType::fp32 && moment->elements() == n),
            "moments are absent, not FP32 or not as many as weights");
  }
  require(args.squares.present(), "sums of squares are absent");
}

void check(const CheckGradients& args) { check_segments(args.segments, args.gradient.elements()); }

float wire_scale(int wire_exponent) { return std::ldexp(1.0F, wire_exponent); }

}  // namespace minim
