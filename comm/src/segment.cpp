#include "segment.h"

#include <new>

#include "minim/runtime/memory.h"

namespace minim::detail {
namespace {
constexpr std::int64_t kBoardBytes = round_up(sizeof(RankBoard), 4096);  // slots and staging on pages of their own
}

std::int64_t SegmentPart::size_bytes(std::int64_t staging_bytes) { return kBoardBytes + 2 * kSlotBytes + staging_bytes; }

SegmentPart SegmentPart::at(void* memory, bool construct) {
  auto* const base = static_cast<std::byte*>(memory);
  SegmentPart part;
  part.board = construct ? new (memory) RankBoard : std::launder(static_cast<RankBoard*>(memory));
  part.slots[0] = base + kBoardBytes;
  part.slots[1] = part.slots[0] + kSlotBytes;
  part.staging = part.slots[1] + kSlotBytes;
  return part;
}

}  // namespace minim::detail
