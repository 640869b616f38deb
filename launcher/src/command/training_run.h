#pragma once

#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <string>

#include "command/device_survey.h"
#include "command/exit_code.h"
#include "command/experiment.h"
#include "command/inspector.h"
#include "command/monitor.h"
#include "command/stop_request.h"
#include "minim/launcher/checkpoint.h"
#include "minim/launcher/trainer.h"

namespace minim::command {

/// The newest sound checkpoint that a run continues from; all zero for a new one.
struct RunStart {
  bool resumed = false;
  std::int64_t step = 0, position = 0;
  std::int64_t world_size = 0;
};

struct RunSettings {
  RunConfig config;  ///< resolved, equal on all ranks
  RunDirectory directory;
  RunStart start;
  int threads = 1;
  ProgressStyle style = ProgressStyle::plain;  ///< on rank 0
  std::optional<DeviceSurvey> devices = {};
};

/// A run from its set-up to its end. All calls are collective. Where a rank is lost the process ends, see lost_ranks.h.
class TrainingRun {
 public:
  TrainingRun(RunSettings settings, Communicator& communicator);

  /// Trains until the run is finished or any rank is asked to stop; checkpoints, metrics and results are on disk then.
  ExitCode run(const StopRequest& stop);

 private:
  void set_up();
  void check_agreement();
  void check_trace() const;
  void make_trainer();
  void load_checkpoint();
  void load_start_weights();
  void make_monitor();
  void make_loaders();
  ExitCode train(const StopRequest& stop);
  template <class Part>
  void report_outcome(Part&& part);
  void step(bool stop_requested);
  void step_inspected(bool stop_requested);
  void step_ahead(bool stop_requested, Inspector* inspector);
  void drain();
  void evaluate();
  void record_weights();
  void begin_trace();
  void end_trace();
  void save(const char* note);
  /// Rank 0 at its display and files. Where that fails, the others learn of it in the next step.
  template <class Part>
  void on_rank_0(Part&& part);
  void rethrow_monitor_error();
  bool has_evaluation(std::int64_t step);
  void report_inspections();
  ExitCode finish();
  ExitCode leave(const StopRequest& stop);

  RunSettings settings_;
  Communicator& communicator_;
  RunLength length_;
  std::vector<std::string> notices_;  ///< sentences for the display, once it is there
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Communicator> staged_;  ///< null where the communicator reaches the backend's memory by itself
  Datasets data_;
  std::unique_ptr<Network> network_;
  std::unique_ptr<Trainer> trainer_;
  std::unique_ptr<Inspector> inspector_;  ///< with --inspect
  std::unique_ptr<BatchFeed> feed_;
  std::unique_ptr<TrainingLoader> training_loader_;
  std::unique_ptr<EvaluationLoader> evaluation_loader_;
  std::unique_ptr<Evaluator> evaluator_;
  CheckpointStore checkpoints_;
  std::unique_ptr<Monitor> monitor_;  ///< on rank 0
  std::exception_ptr monitor_error_;
  std::chrono::duration<double> took_{};  ///< by what has not been reported yet
  std::optional<StepTrace> trace_;        ///< of the step that is being traced
  bool stopping_ = false;                 ///< some rank was asked to stop
};

}  // namespace minim::command
