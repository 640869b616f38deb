#pragma once

#include <cstdint>

namespace minim::command {

/// Where a run stands and ends, in steps and in positions of the endless stream of samples. Epochs are counted by position, so
/// that they mean the same after a resume with another number of ranks.
struct RunLength {
  std::int64_t dataset_size = 1;
  std::int64_t global_batch = 1;  ///< samples per step over all ranks and micro-batches
  std::int64_t epochs = 1;
  std::int64_t steps = 0;       ///< not 0: the run has so many steps, whatever `epochs` says
  std::int64_t start_step = 0;  ///< attempted steps and position that this process starts from
  std::int64_t start_position = 0;

  /// Attempted steps of the whole run; the last batch may reach beyond the last epoch.
  std::int64_t total_steps() const;
  /// Samples consumed after `step` attempted steps.
  std::int64_t position(std::int64_t step) const { return start_position + (step - start_step) * global_batch; }
  /// Epochs that are complete after `step` attempted steps.
  std::int64_t epochs_done(std::int64_t step) const { return position(step) / dataset_size; }
  /// Whether step number `step` (counted from 1) completed an epoch.
  bool ends_epoch(std::int64_t step) const;
  /// Whether an evaluation belongs after step number `step`; `every` epochs, 0: at the end only.
  bool evaluates_after(std::int64_t step, std::int64_t every) const;
  /// Whether a checkpoint belongs after step number `step`; `every` steps, 0: after every epoch.
  bool saves_after(std::int64_t step, std::int64_t every) const;
};

}  // namespace minim::command
