#pragma once

#include <array>
#include <memory>
#include <span>

#include "minim/comm/communicator.h"
#include "minim/optimizer/sharded_optimizer.h"

namespace minim {

/// So many steps may be under way: while the device runs one, the host enqueues the next.
inline constexpr int kStepsUnderWay = 2;

/// The small arrays on the device that the ranks agree by, and the kernels on them.
class AgreementState {
 public:
  AgreementState(Backend& backend, const AgreementConfig& config, std::uint64_t configuration,
                 std::span<const float> learning_rates, int rank, int world_size);

  static std::int64_t size_bytes(int world_size, std::int64_t learning_rates);
  static std::int64_t staging_bytes();  ///< of host memory, for what the device and the host tell each other

  TensorView state() const { return state_.view(); }
  TensorView record() const { return record_; }  ///< this rank's place in `records`
  TensorView records() const { return records_.view(); }
  TensorView overflow() const { return overflow_.view(); }

  void write(const StepState& state);
  /// The parameter of which this rank's updates have made a weight that overflowed; kNoOverflow: none.
  std::int32_t read_overflow() const;
  /// Forgets that a weight overflowed, when weights have been set anew.
  void clear_overflow();

  /// Starts this rank's record of the step. `loss`, `weight` and `correct` as in ShardedOptimizer::finish_step. Not called anew
  /// for a slot, one of kStepsUnderWay, before the stream has got through the call before.
  void fill(Stream& stream, int slot, ConstTensorView loss, ConstTensorView weight, ConstTensorView correct, HostReport report);
  /// Folds all records into the state.
  void fold(Stream& stream) const { fold_->launch(stream); }
  /// Sends the state to the host, where it is `fetched` once the stream has got there.
  void fetch(Stream& stream, int slot) const { stream.copy(fetched_[slot], state()); }
  StepState fetched(int slot) const;

 private:
  Backend& backend_;
  std::uint64_t configuration_;
  Tensor state_, records_, report_, overflow_, learning_rates_;
  std::array<Tensor, kStepsUnderWay> fetched_, host_report_;  // the host's side of `state_` and `report_`
  TensorView record_;
  std::unique_ptr<KernelCall> fold_;
  std::unique_ptr<KernelCall> fill_;  // bound to these sums:
  const void* filled_from_[3] = {};
};

}  // namespace minim
