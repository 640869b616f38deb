#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "agreement_state.h"
#include "bucket_state.h"
#include "trust_state.h"

namespace minim {

/// The array that takes the updates: "master", or "weight" where weights are their own master.
const char* master_name(Precision precision);

struct ShardedOptimizer::Impl {
  /// Where a parameter lies.
  struct Place {
    int bucket = 0;
    std::int64_t offset = 0, elements = 0;
    int index = 0;  ///< in the parameter list
  };
  /// Elements of a parameter, and where they lie in one of this rank's arrays.
  struct Piece {
    std::int64_t begin = 0, end = 0;
    std::int64_t array_begin = 0;
    bool empty() const { return begin >= end; }
  };

  /// A step that has begun and is not drained.
  struct Step {
    std::vector<Work> works;  ///< in the order of their issue
    Event fetched;            ///< the host has its outcome
  };

  Impl(Backend& backend_, Communicator& communicator_, std::vector<Parameter*> parameters_, OptimizerConfig config_);

  // bucket_kernels.cpp
  void allocate_arrays(BucketState& bucket, Stream& stream) const;
  void prepare_kernels(BucketState& bucket, const std::unordered_map<const Parameter*, int>& indices) const;
  void prepare_average(BucketState& bucket) const;
  void prepare_kept(BucketState& bucket) const;

  // sharded_optimizer.cpp
  const Place& place(const Parameter& parameter) const;
  Step& step(std::int64_t number) { return steps[static_cast<std::size_t>(number % kStepsUnderWay)]; }
  std::int64_t under_way() const { return begun - drained; }
  void require_drained(const char* call) const;
  void issue_gathers(Stream& compute, std::vector<Work>& works);
  void zero_missing_gradients(Stream& compute);
  void issue_reductions();
  void issue_reduction(BucketState& bucket);
  void agree(Stream& compute);
  void make_trust_ratios(Stream& compute);
  void complete_gradients(BucketState& bucket, Stream& compute);

  // optimizer_arrays.cpp
  bool has_array(const std::string& array) const;
  /// The array of a bucket, or the weights where they are their own master; not present when the rule has none.
  TensorView array_view(const BucketState& bucket, const std::string& array) const;
  /// The part of a parameter that a rank's arrays hold.
  Piece piece_of(const Place& place, int rank) const;
  void set_physical(const std::string& array, const Parameter& parameter, std::span<const float> physical);
  void zero_moments();

  Backend& backend;
  Communicator& communicator;
  std::vector<Parameter*> parameters;
  OptimizerConfig config;
  int rank, world_size;
  bool sharded;  ///< other ranks update weights that this one needs

  BucketSet bucket_set;
  std::vector<BucketState> buckets;
  AgreementState agreement;
  std::optional<TrustState> trust;  // of rules that have trust ratios
  Tensor exchanged;                 // [elements of the largest average], fp32: scratch of exchange_averages
  Tensor widened;                   // [elements of the largest bucket with kept gradients], fp32: scratch of their kernels
  std::unordered_map<const Parameter*, Place> places;
  std::vector<std::unique_ptr<KernelCall>> zero_gradient;  // of each parameter

  // The steps under way; they are numbered.
  std::array<Step, kStepsUnderWay> steps;
  std::int64_t begun = 0, drained = 0;

  // The last of them.
  bool unfinished = false;
  int micro_batches_kept = 0;
  std::vector<char> ready;  // of each parameter: its gradient is complete
  int next_reduction = -1;  // buckets are reduced from the last to the first

  StepState outcome;    // of the step that was drained last
  bool current = true;  // no rank's weights are stale
};

}  // namespace minim
