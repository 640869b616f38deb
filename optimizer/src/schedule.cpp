#include "minim/optimizer/schedule.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "minim/runtime/error.h"

namespace minim {

namespace {

/// Rates are kept in a table; this one has 512 MiB.
constexpr std::int64_t kMostSteps = std::int64_t{1} << 27U;

void require_possible(std::int64_t steps, const char* what) {
  if (steps > kMostSteps) throw InvalidArgument(fmt::format("schedule: {} {}, wanted at most {}", steps, what, kMostSteps));
}

/// Between warm-up and the end of the run.
bool falls_to_zero(ScheduleKind kind) { return kind == ScheduleKind::cosine || kind == ScheduleKind::poly; }

void validate(const ScheduleConfig& config) {
  if (!std::isfinite(config.base) || config.base < 0) {
    throw InvalidArgument(fmt::format("schedule: base learning rate is {}, wanted finite and not negative", config.base));
  }
  if (config.warmup_steps < 0) {
    throw InvalidArgument(fmt::format("schedule: {} warm-up steps, wanted 0 or more", config.warmup_steps));
  }
  if (config.total_steps < 1)
    throw InvalidArgument(fmt::format("schedule: {} steps in all, wanted 1 or more", config.total_steps));
  require_possible(config.warmup_steps, "warm-up steps");
  require_possible(config.total_steps, "steps in all");
  if (falls_to_zero(config.kind) && config.warmup_steps >= config.total_steps) {
    throw InvalidArgument(fmt::format("schedule: {} warm-up steps leave nothing of {} for {}", config.warmup_steps,
                                      config.total_steps, name(config.kind)));
  }
  if (config.kind == ScheduleKind::poly && !(std::isfinite(config.power) && config.power > 0)) {
    throw InvalidArgument(fmt::format("schedule: power is {}, wanted finite and positive", config.power));
  }
  if (config.kind != ScheduleKind::step) return;
  if (!std::isfinite(config.gamma) || config.gamma < 0) {
    throw InvalidArgument(fmt::format("schedule: gamma is {}, wanted finite and not negative", config.gamma));
  }
  if (!std::is_sorted(config.milestones.begin(), config.milestones.end()) ||
      (!config.milestones.empty() && config.milestones.front() < 0)) {
    throw InvalidArgument("schedule: milestones are wanted in rising order from 0 on");
  }
  if (!config.milestones.empty()) require_possible(config.milestones.back(), "steps before the last milestone");
}

double rate(const ScheduleConfig& config, std::int64_t step) {
  const auto at = static_cast<double>(step);
  const auto warmup = static_cast<double>(config.warmup_steps);
  double factor = step < config.warmup_steps ? (at + 1) / warmup : 1.0;
  if (config.kind == ScheduleKind::step) {
    const auto passed = std::upper_bound(config.milestones.begin(), config.milestones.end(), step) - config.milestones.begin();
    factor *= std::pow(config.gamma, static_cast<double>(passed));
  }
  if (falls_to_zero(config.kind) && step >= config.warmup_steps) {
    const double progress = (at - warmup) / (static_cast<double>(config.total_steps) - warmup);
    const bool cosine = config.kind == ScheduleKind::cosine;
    factor *= cosine ? 0.5 * (1 + std::cos(std::numbers::pi * progress)) : std::pow(1 - progress, config.power);
  }
  return config.base * factor;
}

}  // namespace

std::string_view name(ScheduleKind kind) {
  switch (kind) {
    case ScheduleKind::constant: return "constant";
    case ScheduleKind::step: return "step";
    case ScheduleKind::cosine: return "cosine";
    case ScheduleKind::poly: return "poly";
  }
  return "unknown";
}

ScheduleKind parse_schedule(std::string_view text) {
  for (const auto kind : {ScheduleKind::constant, ScheduleKind::step, ScheduleKind::cosine, ScheduleKind::poly}) {
    if (text == name(kind)) return kind;
  }
  throw InvalidArgument(fmt::format("schedule \"{}\" is none of constant, step, cosine, poly", text));
}

std::vector<float> learning_rates(const ScheduleConfig& config) {
  validate(config);
  std::int64_t steps = std::max(config.total_steps, config.warmup_steps + 1);
  if (config.kind == ScheduleKind::step && !config.milestones.empty()) steps = std::max(steps, config.milestones.back() + 1);
  std::vector<float> rates(static_cast<std::size_t>(steps));
  for (std::int64_t step = 0; step < steps; ++step)
    rates[static_cast<std::size_t>(step)] = static_cast<float>(rate(config, step));
  return rates;
}

}  // namespace minim
