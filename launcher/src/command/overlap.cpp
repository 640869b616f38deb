#include "command/overlap.h"

#include <algorithm>
#include <cstddef>

namespace minim::command {
namespace {

/// Where both streams stand.
struct Clock {
  double compute = 0;
  double communication = 0;
};

void run_forward(const TimedStep& step, Clock& clock, Overlap& result) {
  std::vector<double> gathered;
  for (const TimedBucket& bucket : step.buckets) {
    clock.communication += bucket.gather_seconds;
    gathered.push_back(clock.communication);
  }
  result.gather = clock.communication;
  for (const TimedKernel& kernel : step.forward) {
    double start = clock.compute;
    for (const int bucket : kernel.buckets) start = std::max(start, gathered[static_cast<std::size_t>(bucket)]);
    result.exposed_gather += start - clock.compute;
    clock.compute = start + kernel.seconds;
  }
}

void run_backward(const TimedStep& step, Clock& clock, Overlap& result) {
  std::vector<int> missing;
  for (const TimedBucket& bucket : step.buckets) missing.push_back(bucket.gradients);
  auto next = static_cast<std::ptrdiff_t>(step.buckets.size()) - 1;
  const auto reduce_next = [&] {
    const double seconds = step.buckets[static_cast<std::size_t>(next--)].reduction_seconds;
    clock.communication = std::max(clock.communication, clock.compute) + seconds;
    result.reduction += seconds;
  };
  for (const TimedKernel& kernel : step.backward) {
    clock.compute += kernel.seconds;
    for (const int bucket : kernel.buckets) --missing[static_cast<std::size_t>(bucket)];
    while (next >= 0 && missing[static_cast<std::size_t>(next)] == 0) reduce_next();
  }
  while (next >= 0) reduce_next();  // gradients that no kernel completes are zeroed at the end
  result.exposed_reduction = std::clamp(clock.communication - clock.compute, 0.0, result.reduction);
}

}  // namespace

Overlap simulate(const TimedStep& step) {
  Overlap result;
  Clock clock;
  run_forward(step, clock, result);
  clock.compute += step.micro_batches_between_seconds;
  run_backward(step, clock, result);
  result.step = clock.compute + result.exposed_reduction + step.agreement_seconds + step.update_seconds;
  return result;
}

}  // namespace minim::command
