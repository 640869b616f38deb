#pragma once

#include <memory>
#include <span>

#include "minim/comm/communicator.h"
#include "minim/optimizer/sharded_optimizer.h"

namespace minim {

/// The small arrays on the device that the ranks agree by, and the kernels on them.
class AgreementState {
 public:
  AgreementState(Backend& backend, const AgreementConfig& config, std::uint64_t configuration,
                 std::span<const float> learning_rates, int rank, int world_size);

  static std::int64_t size_bytes(int world_size, std::int64_t learning_rates);

  TensorView state() const { return state_.view(); }
  TensorView record() const { return record_; }  ///< this rank's place in `records`
  TensorView records() const { return records_.view(); }
  TensorView overflow() const { return overflow_.view(); }

  StepState read() const;
  void write(const StepState& state) const;
  /// The parameter of which this rank's updates have made a weight that overflowed; kNoOverflow: none.
  std::int32_t read_overflow() const;
  /// Forgets that a weight overflowed, when weights have been set anew.
  void clear_overflow() const;

  /// Starts this rank's record of the step. `loss`, `weight` and `correct` as in ShardedOptimizer::finish_step.
  void fill(Stream& stream, ConstTensorView loss, ConstTensorView weight, ConstTensorView correct, HostReport report);
  /// Folds all records into the state.
  void fold(Stream& stream) const { fold_->launch(stream); }

 private:
  Backend& backend_;
  std::uint64_t configuration_;
  Tensor state_, records_, report_, overflow_, learning_rates_;
  TensorView record_;
  std::unique_ptr<KernelCall> fold_;
  std::unique_ptr<KernelCall> fill_;  // bound to these sums:
  const void* filled_from_[3] = {};
};

}  // namespace minim
