#include "command/training_run.h"

#include <fmt/format.h>

#include <utility>

#include "command/inspection_advice.h"
#include "command/lost_ranks.h"
#include "command/trace_file.h"
#include "command/trace_table.h"
#include "minim/comm/nccl.h"
#include "minim/launcher/weights_file.h"

namespace minim::command {

TrainingRun::TrainingRun(RunSettings settings, Communicator& communicator)
    : settings_(std::move(settings)),
      communicator_(communicator),
      checkpoints_(settings_.directory.path(), {.keep = static_cast<int>(settings_.config.keep)}) {
  ending_on_loss(communicator_, [&] { set_up(); });
}

void TrainingRun::set_up() {
  const RunConfig& config = settings_.config;
  notices_ = settings_.devices->notices();
  run_guarded(communicator_, [&] {
    backend_ = settings_.devices->open(settings_.threads, cuda_options(config, communicator_));
    const bool stages = !backend_->host_accessible() && !settings_.devices->suits_nccl();
    if (stages) staged_ = make_staged_communicator(communicator_, *backend_);
    data_ = {.train = open_split(config, Split::train, backend_->memory()), .test = open_split(config, Split::test)};
    network_ = std::make_unique<Network>(config, data_.train->task());
    length_ = {.dataset_size = data_.train->size(),
               .global_batch = config.batch * config.accumulate * communicator_.size(),
               .epochs = config.epochs,
               .steps = config.steps,
               .start_step = settings_.start.step,
               .start_position = settings_.start.position};
  });
  run_guarded(communicator_, [&] { check_trace(); });
  if (!backend_->host_accessible() && !staged_) {
    use_nccl(communicator_, *backend_);
    if (communicator_.size() > 1) notices_.push_back(fmt::format("{} ranks are connected by NCCL", communicator_.size()));
  }
  check_agreement();
  run_guarded(communicator_, [&] { make_trainer(); });
  if (settings_.start.resumed) {
    load_checkpoint();
  } else {
    load_start_weights();
  }
  make_monitor();
  make_loaders();
}

/// Sizes of messages and the number of steps depend on the configuration and on the data: they are compared before the trainer's
/// first collective, which cannot be relied on where they differ.
void TrainingRun::check_agreement() {
  const auto hash = static_cast<std::int64_t>(configuration_hash(settings_.config));
  const bool same_configuration = hash == broadcast_number(communicator_, hash);
  const std::int64_t images = broadcast_number(communicator_, length_.dataset_size);
  run_guarded(communicator_, [&] {
    if (!same_configuration) throw InvalidArgument("was started with another configuration than rank 0");
    if (images != length_.dataset_size) {
      throw DataError(fmt::format("found {} training images, rank 0 found {}", length_.dataset_size, images));
    }
  });
}

void TrainingRun::check_trace() const {
  const std::int64_t traced = settings_.config.trace, last = length_.total_steps();
  if (traced > last) throw InvalidArgument(fmt::format("--trace is {}, the run has {} steps", traced, last));
}

void TrainingRun::make_trainer() {
  const RunConfig& config = settings_.config;
  PhaseConfig phase;
  phase.graphs = {&network_->training};
  phase.batch = config.batch;
  phase.optimizer = optimizer_config(config, length_.total_steps());
  const Trainer::Options options{.precision = parse_precision(config.precision),
                                 .micro_batches = static_cast<int>(config.accumulate),
                                 .seed = config.seed,
                                 .configuration_hash = configuration_hash(config),
                                 .synchronise_batch_norm = config.sync_batch_norm};
  trainer_ = std::make_unique<Trainer>(*backend_, staged_ ? *staged_ : communicator_, network_->model,
                                       std::vector<PhaseConfig>{std::move(phase)}, options);
  evaluator_ = std::make_unique<Evaluator>(*trainer_, network_->evaluation, config.batch);
  if (config.inspect) inspector_ = std::make_unique<Inspector>(config, data_.train->task(), *trainer_);
}

void TrainingRun::load_start_weights() {
  const std::string& weights = settings_.config.weights;
  if (weights.empty()) return;
  run_guarded(communicator_,
              [&] { load_weights(WeightsFile(weights, network_->model, [this] { communicator_.keep_alive(); }), *trainer_); });
  notices_.push_back("starting from the weights in " + weights);
}

void TrainingRun::load_checkpoint() {
  std::vector<std::string> refused;
  checkpoints_.load_newest(*trainer_, refused);
  // The schedule and the data follow from what rank 0 found at first.
  if (trainer_->attempted() != settings_.start.step) {
    throw DataError(fmt::format("{}: rank 0 found the checkpoint of step {} sound, now it is not{}{}",
                                settings_.directory.path().string(), settings_.start.step, refused.empty() ? "" : ": ",
                                refused.empty() ? "" : refused.front()));
  }
  for (const std::string& sentence : refused) notices_.push_back("passed over: " + sentence);
  notices_.push_back(fmt::format("continuing {} after step {}", settings_.directory.path().string(), trainer_->attempted()));
}

void TrainingRun::make_monitor() {
  run_guarded(communicator_, [&] {
    if (communicator_.rank() != 0) return;
    // Not before the run can begin: what failed to start or to continue leaves the directory as it was.
    settings_.directory.write_config(to_toml(settings_.config));
    Metrics::truncate(settings_.directory.metrics_file(), settings_.start.step);
    Metrics::truncate(settings_.directory.inspection_file(), settings_.start.step);
    monitor_ = std::make_unique<Monitor>(settings_.config, length_, settings_.directory, settings_.style);
    for (const std::string& notice : notices_) monitor_->message(notice);
  });
}

void TrainingRun::make_loaders() {
  const RunConfig& config = settings_.config;
  // With CUDA nothing else needs the rank's cores.
  const std::int64_t reading = backend_->host_accessible() ? 1 : settings_.threads;
  LoaderOptions options{.batch = config.batch,
                        .micro_batches = static_cast<int>(config.accumulate),
                        .rank = communicator_.rank(),
                        .world_size = communicator_.size(),
                        .dtype = compute_dtype(parse_precision(config.precision)),
                        .seed = config.seed,
                        .start_position = length_.start_position,
                        .threads = static_cast<int>(config.data_threads > 0 ? config.data_threads : reading)};
  run_guarded(communicator_, [&] {
    feed_ = std::make_unique<BatchFeed>(*backend_);
    training_loader_ = std::make_unique<TrainingLoader>(*data_.train, *backend_, options);
    evaluation_loader_ = std::make_unique<EvaluationLoader>(*data_.test, *backend_, options);
  });
}

template <class Part>
void TrainingRun::on_rank_0(Part&& part) {
  if (!monitor_ || monitor_error_) return;
  try {
    part();
  } catch (...) {
    monitor_error_ = std::current_exception();
  }
}

void TrainingRun::rethrow_monitor_error() {
  if (monitor_error_) std::rethrow_exception(monitor_error_);
}

bool TrainingRun::has_evaluation(std::int64_t step) {
  std::int64_t found = 0;
  on_rank_0([&] { found = Metrics::has_evaluation(settings_.directory.metrics_file(), step) ? 1 : 0; });
  return broadcast_number(communicator_, found) != 0;
}

/// Reports the outcome that `part`, which returns whether there is one, has brought. What took time without bringing one counts
/// for the next.
template <class Part>
void TrainingRun::report_outcome(Part&& part) {
  const auto begin = std::chrono::steady_clock::now();
  const bool there_is_one = part();
  took_ += std::chrono::steady_clock::now() - begin;
  if (!there_is_one) return;
  stopping_ = stopping_ || trainer_->state().stop != 0;
  on_rank_0([&] { monitor_->step(trainer_->state(), trainer_->first_bad_parameter(), took_.count()); });
  took_ = {};
}

void TrainingRun::step(bool stop_requested) {
  const bool is_inspected = inspector_ && trainer_->begun() % settings_.config.inspect_every == 0;
  if (is_inspected) {
    step_inspected(stop_requested);
  } else {
    step_ahead(stop_requested, nullptr);
  }
}

void TrainingRun::step_ahead(bool stop_requested, Inspector* inspector) {
  const Feed feed = [&](const MicroBatch& micro_batch) {
    rethrow_monitor_error();
    feed_->fill(*micro_batch.plans.front(), training_loader_->next(), micro_batch.step, micro_batch.stream);
    if (inspector != nullptr) inspector->observe(micro_batch);
    return 0;
  };
  report_outcome([&] { return trainer_->step_ahead(feed, stop_requested); });
}

/// With no other step under way.
void TrainingRun::step_inspected(bool stop_requested) {
  drain();
  if (stopping_) return;
  inspector_->begin();
  step_ahead(stop_requested, inspector_.get());
  drain();
  const Inspection inspection = inspector_->finish();
  on_rank_0([&] { append_inspection(settings_.directory.inspection_file(), inspection); });
}

void TrainingRun::drain() {
  report_outcome([&] { return trainer_->drain(); });
}

void TrainingRun::evaluate() {
  trainer_->exchange_averages();
  const EvaluationResult result =
      evaluator_->run(evaluation_loader_->batches(), [&](std::int64_t batch, Plan& plan, Stream& stream) {
        feed_->fill(plan, evaluation_loader_->read(batch), /*attempted_step=*/0, stream);
      });
  trainer_->exchange_averages();
  on_rank_0([&] { monitor_->evaluation(trainer_->state(), result); });
  if (settings_.config.tensorboard) record_weights();
}

void TrainingRun::record_weights() {
  ShardedOptimizer& optimizer = trainer_->optimizer();
  const std::string array = optimizer.array_names().front();  // the master weights, where there are any
  for (const Parameter* parameter : optimizer.parameters()) {
    const std::vector<float> values = optimizer.gather_array(array, *parameter);
    on_rank_0([&] { monitor_->weights(trainer_->attempted(), parameter->name, values); });
  }
}

void TrainingRun::begin_trace() {
  trace_.emplace();
  trainer_->set_trace(&*trace_);
  feed_->set_trace(&trace_->input);
}

void TrainingRun::end_trace() {
  feed_->set_trace(nullptr);
  trainer_->set_trace(nullptr);
  const TraceRows rows = read_trace(*trace_);
  trace_.reset();
  const std::string text = gather_trace(communicator_, rows);
  on_rank_0([&] {
    write_trace(settings_.directory.trace_file(), text);
    monitor_->message(fmt::format("step {}: when everything ran is in {}; on rank 0:\n{}", trainer_->attempted(),
                                  settings_.directory.trace_file().string(), trace_table(rows)));
  });
}

void TrainingRun::save(const char* note) {
  on_rank_0([&] { monitor_->synchronize(); });
  run_guarded(communicator_, [&] { rethrow_monitor_error(); });
  const std::int64_t position = length_.position(trainer_->attempted());
  checkpoints_.save(*trainer_, {.data_position = position, .configuration = to_toml(settings_.config), .note = note});
}

ExitCode TrainingRun::run(const StopRequest& stop) {
  return ending_on_loss(communicator_, [&] { return train(stop); });
}

ExitCode TrainingRun::train(const StopRequest& stop) {
  const RunConfig& config = settings_.config;
  // A run that was stopped right after a step which an evaluation belongs to left that to us.
  const std::int64_t start = trainer_->attempted();
  if (length_.evaluates_after(start, config.eval_every) && !has_evaluation(start)) evaluate();
  while (trainer_->begun() < length_.total_steps()) {
    const bool traces = trainer_->begun() + 1 == config.trace;
    if (traces) begin_trace();
    step(stop.requested());
    const std::int64_t done = trainer_->begun();
    const bool evaluates = length_.evaluates_after(done, config.eval_every);
    const bool saves = length_.saves_after(done, config.checkpoint_every);
    if (evaluates || saves || traces || stopping_) drain();
    if (traces) end_trace();
    if (stopping_) return leave(stop);
    if (evaluates) evaluate();
    if (saves) save(done < length_.total_steps() ? "interval" : "end");
  }
  return finish();
}

ExitCode TrainingRun::leave(const StopRequest& stop) {
  save("signal");
  std::string reason = stop.reason();
  if (reason.empty()) reason = "a request to another rank";
  on_rank_0([&] {
    monitor_->message(fmt::format("stopped by {} after step {} and saved; continue with: minim train --resume --output {}",
                                  reason, trainer_->attempted(), settings_.directory.path().string()));
  });
  return ExitCode::preempted;
}

/// The advice at the end of an inspected run.
void TrainingRun::report_inspections() {
  const auto file = settings_.directory.inspection_file();
  if (!inspector_ || !std::filesystem::exists(file)) return;  // a run that was at its end already has seen nothing
  const auto inspections = read_inspections(file);
  if (!inspections.empty()) monitor_->message(advise(inspections));
}

ExitCode TrainingRun::finish() {
  on_rank_0([&] {
    monitor_->synchronize();
    report_inspections();
    monitor_->summary(trainer_->state(), *backend_->memory(), communicator_.size());
  });
  run_guarded(communicator_, [&] { rethrow_monitor_error(); });
  return ExitCode::finished;
}

}  // namespace minim::command
