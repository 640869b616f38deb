#include "registry.h"

namespace minim::detail {

std::int32_t Registry::add(std::vector<std::byte*> bases, int local_rank, std::int64_t size_bytes) {
  const std::scoped_lock lock(mutex_);
  std::byte* const own = bases.empty() ? nullptr : bases[static_cast<std::size_t>(local_rank)];
  entries_.push_back({std::move(bases), own, size_bytes, false});
  return static_cast<std::int32_t>(entries_.size()) - 1;
}

void Registry::release(std::int32_t allocation) {
  const std::scoped_lock lock(mutex_);
  entries_[static_cast<std::size_t>(allocation)].released = true;
}

bool Registry::released(std::int32_t allocation) const {
  const std::scoped_lock lock(mutex_);
  return entries_[static_cast<std::size_t>(allocation)].released;
}

Location Registry::locate(const void* data, std::int64_t size_bytes) const {
  const std::scoped_lock lock(mutex_);
  const auto* const begin = static_cast<const std::byte*>(data);
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const Entry& entry = entries_[i];
    if (entry.released || entry.own == nullptr || begin < entry.own) continue;
    const std::int64_t offset = begin - entry.own;
    if (offset + size_bytes <= entry.size_bytes) return {static_cast<std::int32_t>(i), offset};
  }
  return {};
}

std::byte* Registry::address(Location location, int local_rank) const {
  const std::scoped_lock lock(mutex_);
  return entries_[static_cast<std::size_t>(location.allocation)].bases[static_cast<std::size_t>(local_rank)] +
         location.offset_bytes;
}

}  // namespace minim::detail
