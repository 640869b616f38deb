#pragma once

#include <cstdint>
#include <string>

#include "command/trace_file.h"

namespace minim::command {

/// Where the time of a step goes on one rank, in nanoseconds.
struct TraceShares {
  std::int64_t step = 0;     ///< from the compute stream's first event to the end of its last
  std::int64_t kernels = 0;  ///< of it, in kernels; and so on, the rest is between them
  std::int64_t copies = 0;
  std::int64_t waits = 0;          ///< for collectives and inputs
  std::int64_t communication = 0;  ///< in collectives
  std::int64_t hidden = 0;         ///< of it, while kernels ran
};
TraceShares shares_of(const TraceRows& rows);

/// The time by type of operation, and the shares.
std::string trace_table(const TraceRows& rows);

}  // namespace minim::command
