#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "minim/comm/buckets.h"
#include "minim/optimizer/loss_scaler.h"
#include "minim/optimizer/schedule.h"
#include "minim/optimizer/update_rule.h"
#include "minim/runtime/precision.h"

namespace minim {

/// How gradients of all ranks become one.
enum class GradSync : std::uint8_t {
  all_reduce,       ///< in the wire type, sums on every rank
  reduce_scatter,   ///< in the wire type, each rank gets the sums of its slice: the same bits, less traffic
  fp32_accumulate,  ///< in the wire type, added in FP32 and handed to the update unrounded
};
std::string_view name(GradSync sync);
GradSync parse_grad_sync(std::string_view text);

struct ParameterGroup {
  std::string name = "default";
  double learning_rate_factor = 1;
  double weight_decay = 0;  ///< of parameters that decay
};

struct OptimizerConfig {
  UpdateRule rule = SgdRule{};
  LossScaleConfig loss_scale;
  ScheduleConfig schedule;
  double clip_norm = 0;          ///< 0: none
  double average_decay = 0;      ///< per applied step, of an exponential moving average of the weights; 0: none is kept
  double nominal_weight = 1;     ///< n0, as the plans were compiled with
  bool accumulate_fp32 = false;  ///< add up the gradients of a step's micro-batches in FP32, not in their type
  GradSync grad_sync = GradSync::all_reduce;
  bool shard = true;  ///< false: every rank keeps and updates everything; with all_reduce only
  Precision precision = Precision::mixed;
  std::vector<ParameterGroup> groups = {ParameterGroup{}};
  BucketOptions buckets;
  std::uint64_t configuration_hash = 0;  ///< compared over the ranks at every step
};

/// Bytes per rank of everything that an optimizer keeps, known before anything is allocated.
struct OptimizerMemory {
  std::int64_t weights_bytes = 0, master_weights_bytes = 0, gradients_bytes = 0, workspace_bytes = 0;
  std::int64_t moments_bytes = 0;  ///< and averages of weights
  std::int64_t state_bytes = 0;    ///< step state, agreement records, learning rates, norms of parameters
  std::int64_t staging_bytes = 0;  ///< the host's side of step state and reports

  std::int64_t total_bytes() const {
    return weights_bytes + master_weights_bytes + moments_bytes + gradients_bytes + workspace_bytes + state_bytes + staging_bytes;
  }
};
OptimizerMemory optimizer_memory(std::span<Parameter* const> parameters, int world_size, const OptimizerConfig& config);

/// Bytes that one rank's check and update of all buckets, and what trust ratios are measured by, read and write, each array once.
std::int64_t update_traffic_bytes(std::span<Parameter* const> parameters, int world_size, const OptimizerConfig& config);

/// A weight that its storage type cannot hold.
struct WeightOverflow {
  int rank = 0;       ///< whose update made it
  int parameter = 0;  ///< index in the optimizer's parameter list
};

/// What this rank has to say in the next agreement.
struct HostReport {
  std::int32_t error_code = 0;
  std::int32_t stop_requested = 0;
};

/// The optimizer of one phase: buckets, FP32 master weights and moments of this rank's slices, the agreement, the loss scale.
///
/// A step, in this order, everything asynchronous on `compute` and the communicator:
///   begin_step     all-gathers of the weights, bucket by bucket
///   before_use     makes the stream wait for the gather of a parameter's bucket
///   keep_gradients between micro-batches, when their gradients are added up in FP32
///   gradient_ready starts the reduction of every bucket whose turn it is and whose gradients are complete
///   finish_step    check, agreement, norms where the rule wants them, update, scale
///   drain          drives the communicator until all of it has happened; then `state()` is the outcome
/// The next step may begin before a step is drained, the one after not. Streams that were given are idle before the optimizer
/// goes. Throws InvalidArgument for parameters that are not its own. When `drain` has thrown, communicator and stream are of no
/// more use.
class ShardedOptimizer {
 public:
  /// Allocates everything (a collective call). Registers its kernels with the backend where they are missing.
  ShardedOptimizer(Backend& backend, Communicator& communicator, std::vector<Parameter*> parameters, OptimizerConfig config);
  ~ShardedOptimizer();

  /// Fills master weights and weights from the parameters' initializers. Needs no communication.
  void initialize(std::uint64_t seed);

  /// S as a [1] fp32 view for the losses.
  ConstTensorView loss_scale() const;
  /// 1 when the last step was applied, as a [1] int32 view for CommitState.
  ConstTensorView last_applied() const;

  void begin_step(Stream& compute);
  void before_use(const Parameter& parameter, Stream& compute);
  /// After the backward pass of every micro-batch but the last; the next adds to the gradients that it finds.
  void keep_gradients(Stream& compute);
  void gradient_ready(const Parameter& parameter, Stream& compute);
  /// `loss`, `weight`, `correct`: [1] fp32, this rank's sums over its micro-batches. Parameters whose gradient never became ready
  /// in this step count as zero gradients.
  void finish_step(Stream& compute, ConstTensorView loss, ConstTensorView weight, ConstTensorView correct, HostReport report);
  /// Of the oldest step that is under way. False when there is none.
  bool drain();
  std::int64_t under_way() const;  ///< steps that have begun and are not drained: at most two

  /// Weights of the other ranks' slices are stale after an update: gathers them, for evaluation and export. A collective call.
  void gather_weights(Stream& compute);

  /// Puts the averages of the weights, where they are kept, into the place of the weights, and these into theirs; once more, and
  /// all is as it was. In between is for evaluation, after `gather_weights`. A collective call.
  void exchange_averages(Stream& compute);

  /// What the next agreement would fail with: the first rank and parameter of which the last update made a weight that its
  /// storage type cannot hold. The same on all ranks. A collective call.
  std::optional<WeightOverflow> find_weight_overflow();

  const StepState& state() const;  ///< of the step that was drained last
  void set_state(const StepState& state);
  const OptimizerConfig& config() const;
  const std::vector<Parameter*>& parameters() const;
  /// True when no bucket's weights are stale on any rank.
  bool weights_current() const;

  /// Arrays that a checkpoint holds for every parameter: "master" (or "weight" where there is no master), "moment1",
  /// "moment2", "average".
  std::vector<std::string> array_names() const;
  /// One array of one parameter in logical order, FP32, all elements, on every rank. A collective call, in parameter order.
  std::vector<float> gather_array(const std::string& array, const Parameter& parameter);
  /// This rank's part of that, which may be none of it, as it lies in memory. No collective call; no step is under way.
  std::vector<float> own_array(const std::string& array, const Parameter& parameter) const;
  /// Sets this rank's part from all elements in logical order. Setting "master" (or "weight") also sets the weight and the
  /// average.
  void set_array(const std::string& array, const Parameter& parameter, std::span<const float> logical);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace minim
