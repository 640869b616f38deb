#include "command/monitor.h"

#include <fmt/format.h>

#include "command/text.h"

namespace minim::command {
namespace {

using Clock = std::chrono::steady_clock;

std::string loss_and_accuracy(double loss, double accuracy) {
  return fmt::format("loss {:.4f}, accuracy {:.2f} %", loss, 100 * accuracy);
}

}  // namespace

Monitor::Monitor(const RunConfig& config, const RunLength& length, const RunDirectory& directory, ProgressStyle style)
    : config_(config),
      length_(length),
      directory_(directory),
      metrics_(directory.metrics_file()),
      progress_(stdout, style),
      start_(Clock::now()) {
  if (config.tensorboard) events_.emplace(directory.path(), length.start_step);
}

std::int64_t Monitor::epoch_of(std::int64_t step) const { return length_.position(step - 1) / length_.dataset_size + 1; }

double Monitor::elapsed_seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

void Monitor::step(const StepState& state, const std::string& first_bad_tensor, double step_seconds) {
  const std::int64_t step = state.attempted;
  ++steps_;
  ++unlogged_steps_;
  training_seconds_ += step_seconds;
  unlogged_seconds_ += step_seconds;
  rate_.add(step_seconds);
  add_to_epoch(state);
  report_scale(state, first_bad_tensor);

  const bool logged = step % config_.log_every == 0 || step == length_.total_steps();
  if (logged) {
    const double per_second = static_cast<double>(unlogged_steps_ * length_.global_batch) / unlogged_seconds_;
    metrics_.step(state, {.epoch = epoch_of(step), .samples_per_second = per_second, .elapsed_seconds = elapsed_seconds()});
    record_events(state, per_second);
    unlogged_steps_ = 0;
    unlogged_seconds_ = 0;
  }
  progress_.step({.step = step,
                  .total_steps = length_.total_steps(),
                  .epoch = epoch_of(step),
                  .epochs = length_.steps > 0 ? 0 : length_.epochs,
                  .loss = state.loss / state.weight,
                  .accuracy = state.correct / state.weight,
                  .images_per_second = rate_.steps_per_second() * static_cast<double>(length_.global_batch),
                  .loss_scale = state.used_loss_scale,
                  .skipped = step - state.applied,
                  .seconds_left = rate_.seconds_left(length_.total_steps() - step)},
                 logged);
}

void Monitor::record_events(const StepState& state, double samples_per_second) {
  if (!events_) return;
  events_->write(state.attempted, {{"loss/train", state.loss / state.weight},
                                   {"accuracy/train", state.correct / state.weight},
                                   {"epoch", static_cast<double>(epoch_of(state.attempted))},
                                   {"learning_rate", state.learning_rate},
                                   {"loss_scale", state.used_loss_scale},
                                   {"gradient_norm", state.gradient_norm},
                                   {"skipped_steps", static_cast<double>(state.attempted - state.applied)},
                                   {"samples_per_second", samples_per_second}});
}

void Monitor::add_to_epoch(const StepState& state) {
  if (state.last_applied != 0) {
    epoch_.loss += state.loss;
    epoch_.weight += state.weight;
    epoch_.correct += state.correct;
  }
  if (!length_.ends_epoch(state.attempted) && state.attempted != length_.total_steps()) return;
  if (epoch_.weight > 0) last_epoch_ = epoch_;
  epoch_ = {};
}

void Monitor::report_scale(const StepState& state, const std::string& first_bad_tensor) {
  if (state.last_applied == 0) {
    const std::string tensor = first_bad_tensor.empty() ? "loss" : fmt::format("gradient of \"{}\"", first_bad_tensor);
    metrics_.skip(state, tensor);
    const char* what = state.probe_failed != 0 ? "probe of a doubled loss scale skipped" : "skipped";
    progress_.message(fmt::format("step {}: {}, {} is not finite at a loss scale of {:g}; now {:g}", state.attempted, what,
                                  tensor, state.used_loss_scale, state.loss_scale));
  } else if (state.loss_scale > state.used_loss_scale) {
    metrics_.growth(state);
    progress_.message(fmt::format("step {}: loss scale doubled to {:g}", state.attempted, state.loss_scale));
  }
}

void Monitor::evaluation(const StepState& state, const EvaluationResult& result) {
  evaluation_ = result;
  metrics_.evaluation(state, length_.epochs_done(state.attempted), result, elapsed_seconds());
  if (events_) events_->write(state.attempted, {{"loss/test", result.loss}, {"accuracy/test", result.accuracy}});
  progress_.message(fmt::format("step {}: test {}", state.attempted, loss_and_accuracy(result.loss, result.accuracy)));
}

void Monitor::weights(std::int64_t step, const std::string& parameter, std::span<const float> values) {
  events_->write(step, "weights/" + parameter, histogram_of(values));
}

void Monitor::summary(const StepState& state, const MemoryAccount& memory, int ranks) {
  progress_.finish();
  TextTable table;
  table.align_left(1);
  table.rule();
  table.add({"network", fmt::format("{} on {}, {}, {} rank{}", config_.model, config_.dataset, config_.precision, ranks,
                                    ranks > 1 ? "s" : "")});
  table.add({"steps", fmt::format("{} applied, {} skipped, loss scale {:g}", state.applied, state.attempted - state.applied,
                                  state.loss_scale)});
  if (last_epoch_.weight > 0) {
    table.add({"training, last epoch",
               loss_and_accuracy(last_epoch_.loss / last_epoch_.weight, last_epoch_.correct / last_epoch_.weight)});
  }
  if (evaluation_) table.add({"test", loss_and_accuracy(evaluation_->loss, evaluation_->accuracy)});
  if (training_seconds_ > 0) {
    table.add({"training speed",
               fmt::format("{:.0f} images/s", static_cast<double>(steps_ * length_.global_batch) / training_seconds_)});
  }
  table.add({"time", format_duration(elapsed_seconds())});
  table.rule();
  for (int i = 0; i < kMemoryKinds; ++i) {
    const auto kind = static_cast<MemoryKind>(i);
    if (memory.in_use_bytes(kind) > 0) table.add({std::string(name(kind)), format_bytes(memory.in_use_bytes(kind))});
  }
  table.add({"memory of rank 0", format_bytes(memory.in_use_bytes())});
  table.rule();
  table.add({"results", directory_.path().string()});
  progress_.message(table.to_string());
}

}  // namespace minim::command
