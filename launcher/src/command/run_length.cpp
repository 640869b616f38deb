#include "command/run_length.h"

#include <algorithm>

namespace minim::command {

std::int64_t RunLength::total_steps() const {
  if (steps > 0) return steps;
  const std::int64_t missing = std::max<std::int64_t>(0, epochs * dataset_size - start_position);
  return start_step + (missing + global_batch - 1) / global_batch;
}

bool RunLength::ends_epoch(std::int64_t step) const {
  // By arithmetic on positions, not on this process's own steps: also right for the step that a resumed run starts from.
  const std::int64_t after = position(step), before = std::max<std::int64_t>(0, after - global_batch);
  return step > 0 && after / dataset_size > before / dataset_size;
}

bool RunLength::evaluates_after(std::int64_t step, std::int64_t every) const {
  if (step == 0) return false;
  if (step >= total_steps()) return true;
  return every > 0 && ends_epoch(step) && epochs_done(step) % every == 0;
}

bool RunLength::saves_after(std::int64_t step, std::int64_t every) const {
  if (step >= total_steps()) return true;
  return every > 0 ? step % every == 0 : ends_epoch(step);
}

}  // namespace minim::command
