#pragma once

#include "minim/runtime/trace.h"

namespace minim {

/// What one rank does in a step, and when. To be read when the step is drained.
struct StepTrace {
  TraceRow host;           ///< the thread that calls the trainer
  TraceRow compute;        ///< the trainer's stream: kernels, copies, and what it waits for
  TraceRow communication;  ///< collectives of the trainer's communicator
  TraceRow input;          ///< a stream of the feed's own, which the feed sets its trace to
};

}  // namespace minim
