#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "segment.h"

namespace minim::detail {

/// Memory from `Communicator::allocate`, which the ranks of a node can address on each other's behalf. Thread-safe: buffers are
/// released wherever their last owner happens to be.
class Registry {
 public:
  /// `bases[l]` is where this rank sees the memory of local rank l. Returns the number of the allocation: the same on all ranks
  /// when all allocate in the same order.
  std::int32_t add(std::vector<std::byte*> bases, int local_rank, std::int64_t size_bytes);
  /// The memory is given up by this rank: no tensor of its own is in it any more.
  void release(std::int32_t allocation);
  bool released(std::int32_t allocation) const;

  /// Messages that use the allocations have been given up: what is released from now on must stay in memory.
  void abandon() { abandoned_.store(true); }
  bool abandoned() const { return abandoned_.load(); }

  Location locate(const void* data, std::int64_t size_bytes) const;
  std::byte* address(Location location, int local_rank) const;

 private:
  struct Entry {
    std::vector<std::byte*> bases;
    std::byte* own = nullptr;
    std::int64_t size_bytes = 0;
    bool released = false;
  };
  mutable std::mutex mutex_;
  std::vector<Entry> entries_;
  std::atomic<bool> abandoned_{false};
};

}  // namespace minim::detail
