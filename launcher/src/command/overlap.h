#pragma once

#include <vector>

namespace minim::command {

/// A kernel of a pass, and the buckets that it has to do with: in forward those whose weights it reads, in backward that of each
/// gradient which it completes.
struct TimedKernel {
  double seconds = 0;
  std::vector<int> buckets;
};

struct TimedBucket {
  int gradients = 0;          ///< that complete it
  double gather_seconds = 0;  ///< 0 where ranks keep all weights
  double reduction_seconds = 0;
};

/// A step on two streams, as ShardedOptimizer has it: buckets are gathered in their order under forward, and reduced in the
/// opposite order under backward, each when it is complete and those after it have been started.
struct TimedStep {
  std::vector<TimedKernel> forward, backward;
  double micro_batches_between_seconds = 0;  ///< after the first forward and before the last backward
  std::vector<TimedBucket> buckets;
  double agreement_seconds = 0;
  double update_seconds = 0;
};

/// Seconds of communication, and of it those in which nothing is computed.
struct Overlap {
  double gather = 0, exposed_gather = 0;
  double reduction = 0, exposed_reduction = 0;
  double step = 0;  ///< of the whole step

  double hidden_share() const { return reduction > 0 ? 1 - exposed_reduction / reduction : 1; }
};
Overlap simulate(const TimedStep& step);

}  // namespace minim::command
