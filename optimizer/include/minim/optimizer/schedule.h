#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace minim {

enum class ScheduleKind : std::uint8_t { constant, step, cosine };

/// Learning rate by applied step. Warm-up rises linearly from base / warmup to base over the first `warmup_steps`.
struct ScheduleConfig {
  ScheduleKind kind = ScheduleKind::constant;
  double base = 0.1;
  std::int64_t warmup_steps = 0;
  std::int64_t total_steps = 1;         ///< cosine falls from base to 0 between warm-up and here
  std::vector<std::int64_t> milestones;  ///< step: multiplied by `gamma` from each of these applied steps on
  double gamma = 0.1;
};

ScheduleKind parse_schedule(std::string_view text);
/// Rates of applied steps 0 ... total_steps - 1, each computed in FP64 and rounded once. Throws InvalidArgument.
std::vector<float> learning_rates(const ScheduleConfig& config);

}  // namespace minim
