#pragma once

#include <optional>
#include <span>
#include <string>

#include "command/inspection.h"

namespace minim::command {

inline constexpr int kMostLog2Scale = 24;  ///< loss scales that are looked at: 1 to 2^24
/// A scale suffices where no gradient overflows and of each tensor's non-zero gradients less than this share, or a single value,
/// becomes zero.
inline constexpr double kFlushedShare = 0.001;

/// "conv3's activation gradients"
std::string describe(const InspectedTensor& tensor);
/// "31 %", "0.42 %", "under 0.01 %"; of 0: "0"
std::string format_share(std::int64_t part, std::int64_t whole);
/// Of the non-zero values the share that becomes zero under the loss scale, which multiplies gradients alone.
double flushed_share(const InspectedTensor& tensor, int log2_scale);

/// log2 of the smallest loss scale that suffices in all inspections.
std::optional<int> sufficient_scale(std::span<const Inspection> inspections);
/// log2 of the largest loss scale under which no gradient overflows in any; -1: some do under every scale.
int largest_scale(std::span<const Inspection> inspections);

/// One sentence on what FP16 does to the run's numbers and which loss scale they want. Of one inspection at least.
std::string advise(std::span<const Inspection> inspections);

/// The gradient that is the first in backward to be infinite at the run's loss scale; null where none is.
const InspectedTensor* first_overflow(const Inspection& inspection);

}  // namespace minim::command
