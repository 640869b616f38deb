#include <fmt/core.h>

#include <algorithm>

#include "agreement_state.h"
#include "bucket_state.h"
#include "minim/runtime/error.h"
#include "trust_state.h"

namespace minim {

std::string_view name(GradSync sync) {
  switch (sync) {
    case GradSync::all_reduce: return "all-reduce";
    case GradSync::reduce_scatter: return "reduce-scatter";
    case GradSync::fp32_accumulate: return "fp32-accumulate";
  }
  return "unknown";
}

GradSync parse_grad_sync(std::string_view text) {
  for (const auto sync : {GradSync::all_reduce, GradSync::reduce_scatter, GradSync::fp32_accumulate}) {
    if (text == name(sync)) return sync;
  }
  throw InvalidArgument(fmt::format("grad-sync \"{}\" is none of all-reduce, reduce-scatter, fp32-accumulate", text));
}

OptimizerMemory optimizer_memory(std::span<Parameter* const> parameters, int world_size, const OptimizerConfig& config) {
  validate(config, parameters, world_size);
  constexpr std::int64_t kFloatBytes = size_bytes(DType::fp32);
  OptimizerMemory memory;
  std::int64_t exchanged = 0;  // elements of the largest average
  std::int64_t widened = 0;    // elements of the largest bucket whose gradients are kept in FP32
  for (const Bucket& bucket : plan_buckets(parameters, compute_dtype(config.precision), world_size, config.buckets)) {
    const BucketShare share = share_of(bucket, 0, world_size, config);
    memory.weights_bytes += bucket.elements * size_bytes(bucket.dtype);
    memory.gradients_bytes += bucket.elements * size_bytes(bucket.dtype);
    if (share.has_master) memory.master_weights_bytes += share.elements() * kFloatBytes;
    memory.moments_bytes += (share.moments + (share.has_average ? 1 : 0)) * share.elements() * kFloatBytes;
    if (share.has_average) exchanged = std::max(exchanged, share.elements());
    if (share.has_kept) {
      memory.gradients_bytes += bucket.elements * kFloatBytes;
      widened = std::max(widened, bucket.elements);
    }
    if (share.has_sums) memory.workspace_bytes += bucket.slice_elements(world_size) * kFloatBytes;
  }
  memory.workspace_bytes += (exchanged + widened) * kFloatBytes;
  memory.state_bytes = AgreementState::size_bytes(world_size, static_cast<std::int64_t>(learning_rates(config.schedule).size()));
  if (has_trust_ratios(config.rule) && !parameters.empty()) {
    memory.state_bytes += TrustState::size_bytes(static_cast<std::int64_t>(parameters.size()), config.shard ? world_size : 1);
  }
  memory.staging_bytes = AgreementState::staging_bytes();
  return memory;
}

std::int64_t update_traffic_bytes(std::span<Parameter* const> parameters, int world_size, const OptimizerConfig& config) {
  validate(config, parameters, world_size);
  constexpr std::int64_t kFloatBytes = size_bytes(DType::fp32);
  std::int64_t traffic_bytes = 0;
  for (const Bucket& bucket : plan_buckets(parameters, compute_dtype(config.precision), world_size, config.buckets)) {
    const BucketShare share = share_of(bucket, 0, world_size, config);
    const std::int64_t weight_bytes = size_bytes(bucket.dtype);
    const std::int64_t gradient_bytes = share.has_sums ? kFloatBytes : weight_bytes;
    const std::int64_t master_bytes = share.has_master ? 2 * kFloatBytes + weight_bytes : 2 * weight_bytes;
    traffic_bytes += (share.check_end - share.check_begin) * gradient_bytes;
    traffic_bytes += share.elements() * (gradient_bytes + master_bytes + share.moments * 2 * kFloatBytes);
    if (share.has_average) traffic_bytes += share.elements() * 3 * kFloatBytes;
    if (!has_trust_ratios(config.rule)) continue;
    const std::int64_t measured_moments = share.moments > 1 ? share.moments : 0;  // LAMB's step, but LARS's gradient
    const std::int64_t measured_weight_bytes = share.has_master ? kFloatBytes : weight_bytes;
    traffic_bytes += share.elements() * (gradient_bytes + measured_weight_bytes + measured_moments * kFloatBytes);
  }
  return traffic_bytes;
}

}  // namespace minim
