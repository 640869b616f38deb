#pragma once

#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "minim/comm/buckets.h"
#include "minim/optimizer/sharded_optimizer.h"
#include "trust_kernels.h"

namespace minim {

/// What this rank keeps for a bucket besides the bucket: a function of sizes only, so that memory is known before it is
/// allocated.
struct BucketShare {
  std::int64_t begin = 0, end = 0;              ///< elements that this rank updates
  std::int64_t check_begin = 0, check_end = 0;  ///< elements that this rank looks at for the record: its own slice
  bool has_master = false;
  int moments = 0;
  bool has_average = false;
  bool has_kept = false;  ///< gradients of micro-batches are added up in FP32
  bool has_sums = false;  ///< reduced into FP32 sums of the own slice, beside the gradients
  int wire_exponent = 0;  ///< p

  std::int64_t elements() const { return end - begin; }
};
BucketShare share_of(const Bucket& bucket, int rank, int world_size, const OptimizerConfig& config);

/// Pieces of the parameters of a bucket that lie in its elements [begin, end), relative to `begin`. Padding is in none.
std::vector<UpdateSegment> segments_of(const Bucket& bucket, std::int64_t begin, std::int64_t end,
                                       const std::unordered_map<const Parameter*, int>& parameter_indices,
                                       std::span<const ParameterGroup> groups);

/// What the trust ratio of each parameter depends on.
std::vector<TrustParameter> trust_parameters(std::span<Parameter* const> parameters, std::span<const ParameterGroup> groups);

/// The FP32 sums of the gradients of micro-batches, and the kernels around them.
struct KeptGradients {
  Tensor sums;                           ///< [elements of the bucket], fp32
  std::unique_ptr<KernelCall> start;     ///< sums = gradients
  std::unique_ptr<KernelCall> widen;     ///< scratch = gradients
  std::unique_ptr<KernelCall> add;       ///< sums += scratch
  std::unique_ptr<KernelCall> clear;     ///< gradients = 0
  std::unique_ptr<KernelCall> complete;  ///< scratch += sums
  std::unique_ptr<KernelCall> round;     ///< gradients = scratch
};

/// A bucket with this rank's arrays, its kernels bound to them, and where it stands in the step under way.
struct BucketState {
  Bucket* bucket = nullptr;
  BucketShare share;
  Tensor master, moment1, moment2, average, sums;
  std::unique_ptr<KernelCall> check, update;
  std::unique_ptr<KernelCall> measure;        ///< of rules that have trust ratios
  std::unique_ptr<KernelCall> track;          ///< the average of weights, where one is kept
  std::unique_ptr<KernelCall> round_weights;  ///< to their storage type, where it is another than that of the average

  std::optional<KeptGradients> kept;

  int parameters_ready = 0;
  Event gradients_complete;
  Work gather;
  bool gather_awaited = false;
  Work reduction;

  bool complete() const { return parameters_ready == static_cast<int>(bucket->entries.size()); }
};

/// Throws InvalidArgument that names the option; nothing has been allocated then.
void validate(const OptimizerConfig& config, std::span<Parameter* const> parameters, int world_size);

}  // namespace minim
