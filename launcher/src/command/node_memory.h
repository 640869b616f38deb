#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>

#include "minim/comm/communicator.h"

namespace minim::command {

/// Bytes of memory that this process may still take: what the machine could hand out, or less where a control group (version 1 or
/// 2) of the process, or one around it, allows less. Caches of files do not count as taken. Nothing where the system does not
/// say. `root` is where /proc and /sys are.
std::optional<std::int64_t> available_memory_bytes(const std::filesystem::path& root = "/");

/// What each of so many ranks of a node may take.
struct MemoryShare {
  std::int64_t size_bytes = std::numeric_limits<std::int64_t>::max();
  std::int64_t ranks = 1;
  std::int64_t rank = 0;  ///< that found it
};
MemoryShare memory_share(std::optional<std::int64_t> available_bytes, int local_size, int rank);
/// The smallest share of all ranks; of equal ones that of the lowest rank. Collective.
MemoryShare smallest_share(Communicator& communicator, const MemoryShare& own);

}  // namespace minim::command
