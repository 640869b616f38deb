#include "cudart/address_space.h"

#include <algorithm>
#include <cstring>

#include "cudart/refuse.h"
#include "sanitizers.h"

namespace cudart {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kGap = std::size_t{1} << 20;
constexpr unsigned char kFresh = 0xFF;
constexpr unsigned char kSlack = 0xA5;

std::size_t round_up(std::size_t value, std::size_t multiple) { return (value + multiple - 1) / multiple * multiple; }

/// Calls f(offset, size_bytes) for the slack before and behind the piece.
template <class F>
void for_slack(const Placement& placement, F f) {
  f(placement.pages_offset, placement.offset - placement.pages_offset);
  f(placement.end(), placement.reserved_bytes() - placement.size_bytes);
}

}  // namespace

Placement AddressSpace::place(std::size_t size_bytes) {
  const std::size_t reserved = round_up(std::max<std::size_t>(size_bytes, 1), kAlignment);
  Placement placement;
  placement.size_bytes = size_bytes;
  placement.pages_offset = used_bytes_;
  placement.pages_bytes = round_up(reserved, kPage);
  placement.offset = placement.pages_offset + placement.pages_bytes - reserved;
  if (size_bytes > kSizeBytes || used_bytes_ + placement.pages_bytes + kGap > kSizeBytes) {
    refuse("the program has used up the addresses that this double has for memory");
  }
  used_bytes_ += placement.pages_bytes + kGap;
  return placement;
}

void fill_fresh(char* space, const Placement& placement) {
  std::memset(space + placement.offset, kFresh, placement.size_bytes);
  for_slack(placement, [space](std::size_t offset, std::size_t size_bytes) {
    doubles::unpoison(space + offset, size_bytes);
    std::memset(space + offset, kSlack, size_bytes);
    doubles::poison(space + offset, size_bytes);
  });
}

bool is_slack_intact(const char* space, const Placement& placement) {
  bool intact = true;
  for_slack(placement, [&](std::size_t offset, std::size_t size_bytes) {
    // A loop, not a library's function: AddressSanitizer would see that one.
    for (std::size_t i = 0; i < size_bytes; ++i) intact = intact && static_cast<unsigned char>(space[offset + i]) == kSlack;
  });
  return intact;
}

void forget(const char* space, const Placement& placement) {
  doubles::unpoison(space + placement.pages_offset, placement.pages_bytes);
}

}  // namespace cudart
