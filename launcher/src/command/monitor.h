#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <string>

#include "command/event_file.h"
#include "command/metrics.h"
#include "command/progress.h"
#include "command/run_directory.h"
#include "command/run_length.h"
#include "minim/runtime/memory.h"

namespace minim::command {

/// What rank 0 shows and records of a run: display, metrics.jsonl, TensorBoard's events, and the table at the end.
class Monitor {
 public:
  /// Throws DataError when metrics.jsonl or the file of events cannot be opened.
  Monitor(const RunConfig& config, const RunLength& length, const RunDirectory& directory, ProgressStyle style);

  void message(const std::string& text) { progress_.message(text); }
  /// After every step. `step_seconds`: how long it took.
  void step(const StepState& state, const std::string& first_bad_tensor, double step_seconds);
  void evaluation(const StepState& state, const EvaluationResult& result);
  /// The values of a parameter at an evaluation, for TensorBoard: its file must be wanted.
  void weights(std::int64_t step, const std::string& parameter, std::span<const float> values);
  /// Before a checkpoint: it must not be newer than the records.
  void synchronize() { metrics_.synchronize(); }
  /// The table at the end of a run.
  void summary(const StepState& state, const MemoryAccount& memory, int ranks);

 private:
  struct Sums {
    double loss = 0, weight = 0, correct = 0;
  };
  void report_scale(const StepState& state, const std::string& first_bad_tensor);
  void record_events(const StepState& state, double samples_per_second);
  void add_to_epoch(const StepState& state);
  double elapsed_seconds() const;
  std::int64_t epoch_of(std::int64_t step) const;

  const RunConfig config_;
  const RunLength length_;
  const RunDirectory directory_;
  Metrics metrics_;
  std::optional<EventFile> events_;  ///< where they are wanted
  Progress progress_;
  RateMeter rate_;
  std::chrono::steady_clock::time_point start_;
  std::int64_t steps_ = 0, unlogged_steps_ = 0;         ///< of this process; since the last record
  double training_seconds_ = 0, unlogged_seconds_ = 0;  ///< inside those steps
  Sums epoch_, last_epoch_;                             ///< over the applied steps
  std::optional<EvaluationResult> evaluation_;
};

}  // namespace minim::command
