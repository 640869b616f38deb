#include "bucket_state.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "minim/runtime/error.h"

namespace minim {

namespace {

/// -1 when there is none of this name.
int group_index(std::span<const ParameterGroup> groups, const std::string& name) {
  const auto found = std::find_if(groups.begin(), groups.end(), [&](const ParameterGroup& group) { return group.name == name; });
  return found == groups.end() ? -1 : static_cast<int>(found - groups.begin());
}

/// Of a parameter whose group there is.
float weight_decay_of(const Parameter& parameter, std::span<const ParameterGroup> groups) {
  const ParameterGroup& group = groups[static_cast<std::size_t>(group_index(groups, parameter.group))];
  return parameter.decay ? static_cast<float>(group.weight_decay) : 0.0F;
}

void require_not_negative(double value, const std::string& what) {
  if (!std::isfinite(value) || value < 0)
    throw InvalidArgument(fmt::format("{} is {}, wanted finite and not negative", what, value));
}

void validate_groups(const OptimizerConfig& config, std::span<Parameter* const> parameters) {
  if (config.groups.empty() || config.groups.size() > kMaxGroups) {
    throw InvalidArgument(fmt::format("optimizer: {} parameter groups, wanted 1 to {}", config.groups.size(), kMaxGroups));
  }
  for (const ParameterGroup& group : config.groups) {
    require_not_negative(group.learning_rate_factor, fmt::format("group \"{}\": learning rate factor", group.name));
    require_not_negative(group.weight_decay, fmt::format("group \"{}\": weight decay", group.name));
  }
  for (const Parameter* parameter : parameters) {
    if (group_index(config.groups, parameter->group) < 0) {
      throw InvalidArgument(fmt::format("parameter \"{}\" is in group \"{}\", which the optimizer does not have", parameter->name,
                                        parameter->group));
    }
  }
}

}  // namespace

void validate(const OptimizerConfig& config, std::span<Parameter* const> parameters, int world_size) {
  validate(config.rule);
  validate(config.loss_scale);
  validate_groups(config, parameters);
  require_not_negative(config.clip_norm, "optimizer: clip norm");
  if (!(config.average_decay >= 0 && config.average_decay < 1)) {
    throw InvalidArgument(
        fmt::format("optimizer: decay of the average of weights is {}, wanted 0 to below 1", config.average_decay));
  }
  if (config.average_decay > 0 && !has_master_weights(config.precision) && compute_dtype(config.precision) != DType::fp32) {
    throw InvalidArgument(
        fmt::format("optimizer: precision {} has no FP32 weights that an average could be kept of", name(config.precision)));
  }
  if (!std::isfinite(config.nominal_weight) || config.nominal_weight <= 0) {
    throw InvalidArgument(fmt::format("optimizer: nominal weight is {}, wanted positive", config.nominal_weight));
  }
  if (!config.shard && world_size > 1 && config.grad_sync != GradSync::all_reduce) {
    throw InvalidArgument(
        fmt::format("grad-sync {} leaves each rank with the sums of its own slice, shard off needs all of them: "
                    "use grad-sync {} or shard on",
                    name(config.grad_sync), name(GradSync::all_reduce)));
  }
}

BucketShare share_of(const Bucket& bucket, int rank, int world_size, const OptimizerConfig& config) {
  const std::int64_t slice = bucket.slice_elements(world_size);
  BucketShare share;
  share.check_begin = rank * slice;
  share.check_end = share.check_begin + slice;
  share.begin = config.shard ? share.check_begin : 0;
  share.end = config.shard ? share.check_end : bucket.elements;
  share.has_master = has_master_weights(config.precision) && bucket.dtype != DType::fp32;
  share.moments = moments(config.rule);
  share.has_average = config.average_decay > 0;
  const bool accumulates = config.grad_sync == GradSync::fp32_accumulate;
  share.has_kept = config.accumulate_fp32 && bucket.dtype != DType::fp32;
  share.has_sums = accumulates && bucket.dtype != DType::fp32;
  share.wire_exponent = bucket.dtype == DType::fp16 && !accumulates ? wire_exponent(world_size) : 0;
  return share;
}

std::vector<UpdateSegment> segments_of(const Bucket& bucket, std::int64_t begin, std::int64_t end,
                                       const std::unordered_map<const Parameter*, int>& parameter_indices,
                                       std::span<const ParameterGroup> groups) {
  std::vector<UpdateSegment> segments;
  for (const BucketEntry& entry : bucket.entries) {
    const std::int64_t first = std::max(begin, entry.offset);
    const std::int64_t last = std::min(end, entry.offset + entry.elements);
    if (first >= last) continue;
    const int group_at = group_index(groups, entry.parameter->group);
    const ParameterGroup& group = groups[static_cast<std::size_t>(group_at)];
    segments.push_back({.begin = first - begin,
                        .end = last - begin,
                        .parameter = parameter_indices.at(entry.parameter),
                        .group = group_at,
                        .learning_rate_factor = static_cast<float>(group.learning_rate_factor),
                        .weight_decay = weight_decay_of(*entry.parameter, groups)});
  }
  return segments;
}

std::vector<TrustParameter> trust_parameters(std::span<Parameter* const> parameters, std::span<const ParameterGroup> groups) {
  std::vector<TrustParameter> result;
  for (const Parameter* parameter : parameters) {
    result.push_back({.adapts = parameter->decay, .weight_decay = weight_decay_of(*parameter, groups)});
  }
  return result;
}

}  // namespace minim
