#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace minim {

enum class ScheduleKind : std::uint8_t { constant, step, cosine, poly };

/// Learning rate by applied step. Warm-up rises linearly from base / warmup_steps to base over the first `warmup_steps` steps.
struct ScheduleConfig {
  ScheduleKind kind = ScheduleKind::constant;
  double base = 0.1;
  std::int64_t warmup_steps = 0;
  std::int64_t total_steps = 1;               ///< cosine and poly fall from base to 0 between warm-up and here
  std::vector<std::int64_t> milestones = {};  ///< step: multiplied by `gamma` from each of these applied steps on
  double gamma = 0.1;
  double power = 1;  ///< poly: base * (1 - progress)^power
};

std::string_view name(ScheduleKind kind);
/// Throws InvalidArgument that lists the choices.
ScheduleKind parse_schedule(std::string_view text);
/// Rates of applied steps from 0 on, each computed in FP64 and rounded once; the last one holds for all later steps. At least
/// `total_steps` long, and long enough for the warm-up and all milestones. Throws InvalidArgument.
std::vector<float> learning_rates(const ScheduleConfig& config);

}  // namespace minim
