#include "cudart/host_memory.h"

#include <sys/mman.h>

#include "cudart/refuse.h"
#include "sanitizers.h"

namespace cudart {

HostMemory& HostMemory::instance() {
  static HostMemory& memory = *new HostMemory;  // outlives every thread
  return memory;
}

HostMemory::HostMemory() {
  void* base = mmap(nullptr, AddressSpace::kSizeBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) refuse("the system gives no addresses for page-locked memory");
  base_ = static_cast<char*>(base);
}

void* HostMemory::allocate(int device, std::size_t size_bytes) {
  const doubles::Hidden hidden;
  const std::scoped_lock lock(mutex_);
  const Placement placement = space_.place(size_bytes);
  if (mprotect(base_ + placement.pages_offset, placement.pages_bytes, PROT_READ | PROT_WRITE) != 0) return nullptr;
  fill_fresh(base_, placement);
  char* start = base_ + placement.offset;
  pieces_[start] = {start, size_bytes, device, false, placement};
  return start;
}

bool HostMemory::release(const void* pointer) {
  const doubles::Hidden hidden;
  const std::scoped_lock lock(mutex_);
  const auto found = pieces_.find(static_cast<const char*>(pointer));
  if (found == pieces_.end() || found->second.registered) return false;
  const Placement& placement = found->second.placement;
  if (!is_slack_intact(base_, placement)) {
    refuse("bytes beside the " + std::to_string(placement.size_bytes) + " bytes of page-locked memory at " + text(pointer) +
           " have been overwritten");
  }
  forget(base_, placement);
  madvise(base_ + placement.pages_offset, placement.pages_bytes, MADV_DONTNEED);
  if (mprotect(base_ + placement.pages_offset, placement.pages_bytes, PROT_NONE) != 0) {
    refuse("the system does not protect pages of page-locked memory");
  }
  pieces_.erase(found);
  return true;
}

bool HostMemory::add(const void* pointer, std::size_t size_bytes, int device) {
  const doubles::Hidden hidden;
  const auto* start = static_cast<const char*>(pointer);
  const std::scoped_lock lock(mutex_);
  const auto next = pieces_.lower_bound(start);
  if (next != pieces_.end() && next->second.start < start + size_bytes) return false;
  if (next != pieces_.begin()) {
    const HostPiece& before = std::prev(next)->second;
    if (before.start + before.size_bytes > start) return false;
  }
  pieces_[start] = {start, size_bytes, device, true, {}};
  return true;
}

bool HostMemory::remove(const void* pointer) {
  const doubles::Hidden hidden;
  const std::scoped_lock lock(mutex_);
  const auto found = pieces_.find(static_cast<const char*>(pointer));
  if (found == pieces_.end() || !found->second.registered) return false;
  pieces_.erase(found);
  return true;
}

bool HostMemory::contains(const void* pointer) const { return pointer >= base_ && pointer < base_ + AddressSpace::kSizeBytes; }

std::optional<HostPiece> HostMemory::find(const void* pointer) const {
  const doubles::Hidden hidden;
  const auto* address = static_cast<const char*>(pointer);
  const std::scoped_lock lock(mutex_);
  const auto next = pieces_.upper_bound(address);
  if (next == pieces_.begin()) return std::nullopt;
  const HostPiece& piece = std::prev(next)->second;
  if (address > piece.start + piece.size_bytes) return std::nullopt;
  return piece;
}

}  // namespace cudart
