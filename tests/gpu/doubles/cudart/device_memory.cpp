#include "cudart/device_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include "cudart/fault_handler.h"
#include "cudart/refuse.h"
#include "cudart/settings.h"
#include "sanitizers.h"

namespace cudart {
namespace {

/// The last piece that starts at `offset` or before it.
const Allocation* last_before(const std::map<std::size_t, Allocation>& pieces, std::size_t offset) {
  const auto next = pieces.upper_bound(offset);
  return next == pieces.begin() ? nullptr : &std::prev(next)->second;
}

std::string bytes_at(const Allocation& piece, const char* base) {
  return "the " + std::to_string(piece.placement.size_bytes) + " bytes at " + text(base + piece.placement.offset);
}

}  // namespace

DeviceMemory& DeviceMemory::instance() {
  static DeviceMemory& memory = *new DeviceMemory;  // outlives every thread
  return memory;
}

DeviceMemory::DeviceMemory() : used_bytes_(settings().devices.size()) {
  constexpr std::size_t kSize = AddressSpace::kSizeBytes;
  constexpr std::size_t kShift = 0x5A5A000;  // both halves of an address differ from its alias's, so that confusion shows
  const int file = memfd_create("device memory", MFD_CLOEXEC);
  if (file < 0 || ftruncate(file, static_cast<off_t>(kSize)) != 0) refuse("the system gives no file for device memory");
  void* both = mmap(nullptr, 2 * kSize + kShift, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (both == MAP_FAILED) refuse("the system gives no addresses for device memory");
  base_ = static_cast<char*>(both);
  alias_ = base_ + kSize + kShift;
  if (mmap(alias_, kSize, PROT_NONE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, file, 0) != alias_) {
    refuse("the system does not map device memory");
  }
  close(file);
  handle_faults();
}

void* DeviceMemory::allocate(int device, std::size_t size_bytes) {
  const doubles::Hidden hidden;
  const std::scoped_lock lock(mutex_);
  std::size_t& used = used_bytes_[static_cast<std::size_t>(device)];
  if (size_bytes > settings().memory_bytes - used) return nullptr;
  const Placement placement = space_.place(size_bytes);
  protect(placement, PROT_READ | PROT_WRITE);
  fill_fresh(alias_, placement);
  used += size_bytes;
  allocations_[placement.pages_offset] = {device, placement};
  return base_ + placement.offset;
}

void DeviceMemory::refresh(const void* pointer) {
  if (const auto piece = find(pointer)) fill_fresh(alias_, piece->placement);
}

bool DeviceMemory::release(const void* pointer) {
  const doubles::Hidden hidden;
  const std::scoped_lock lock(mutex_);
  if (!contains(pointer)) return false;
  const std::size_t offset = static_cast<std::size_t>(static_cast<const char*>(pointer) - base_);
  const Allocation* found = last_before(allocations_, offset);
  if (found == nullptr || found->placement.offset != offset) return false;
  const Allocation piece = *found;
  if (!is_slack_intact(alias_, piece.placement)) {
    refuse("bytes beside " + bytes_at(piece, base_) + " of device memory have been overwritten");
  }
  forget(alias_, piece.placement);
  protect(piece.placement, PROT_NONE);
  madvise(alias_ + piece.placement.pages_offset, piece.placement.pages_bytes, MADV_REMOVE);
  used_bytes_[static_cast<std::size_t>(piece.device)] -= piece.placement.size_bytes;
  allocations_.erase(piece.placement.pages_offset);
  freed_[piece.placement.pages_offset] = piece;
  return true;
}

void DeviceMemory::protect(const Placement& placement, int protection) const {
  if (mprotect(alias_ + placement.pages_offset, placement.pages_bytes, protection) != 0) {
    refuse("the system does not protect pages of device memory");
  }
}

bool DeviceMemory::contains(const void* pointer) const { return pointer >= base_ && pointer < base_ + AddressSpace::kSizeBytes; }

bool DeviceMemory::contains_alias(const void* pointer) const {
  return pointer >= alias_ && pointer < alias_ + AddressSpace::kSizeBytes;
}

char* DeviceMemory::alias(const void* pointer) const {
  auto* address = static_cast<char*>(const_cast<void*>(pointer));
  return contains(pointer) ? alias_ + (address - base_) : address;
}

const char* DeviceMemory::original(const void* alias) const { return base_ + (static_cast<const char*>(alias) - alias_); }

std::optional<Allocation> DeviceMemory::find(const void* pointer) const {
  const doubles::Hidden hidden;
  const std::scoped_lock lock(mutex_);
  if (!contains(pointer)) return std::nullopt;
  const std::size_t offset = static_cast<std::size_t>(static_cast<const char*>(pointer) - base_);
  const Allocation* piece = last_before(allocations_, offset);
  if (piece == nullptr || offset < piece->placement.offset || offset > piece->placement.end()) return std::nullopt;
  return *piece;
}

std::string DeviceMemory::describe(const void* pointer) const {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock) return text(pointer);
  const std::size_t offset = static_cast<std::size_t>(static_cast<const char*>(pointer) - base_);
  const Allocation* live = last_before(allocations_, offset);
  const Allocation* freed = last_before(freed_, offset);
  if (freed != nullptr && (live == nullptr || freed->placement.offset > live->placement.offset)) {
    return text(pointer) + ", in or behind " + bytes_at(*freed, base_) + ", which are freed";
  }
  if (live == nullptr) return text(pointer) + ", which never was allocated";
  if (offset < live->placement.end()) return text(pointer) + ", in " + bytes_at(*live, base_);
  return text(pointer) + ", " + std::to_string(offset - live->placement.end()) + " bytes behind " + bytes_at(*live, base_);
}

std::size_t DeviceMemory::used_bytes(int device) const {
  const doubles::Hidden hidden;
  const std::scoped_lock lock(mutex_);
  return used_bytes_[static_cast<std::size_t>(device)];
}

}  // namespace cudart
