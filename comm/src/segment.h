#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "process.h"
#include "signature.h"

namespace minim::detail {

/// Messages of at most so many bytes per rank are exchanged through slots with a single synchronisation.
inline constexpr std::int64_t kSlotBytes = 4 << 10;
/// Larger messages from ordinary memory go through a staging area of each rank in pieces of at most so many bytes.
inline constexpr std::int64_t kStagingBytes = 2 << 20;

/// Where a rank's tensor lies: an allocation that the ranks of a node share, and an offset in it; or anywhere else.
struct Location {
  std::int32_t allocation = -1;  ///< -1: in memory that peers cannot reach
  std::int64_t offset_bytes = 0;
};

/// What a rank shows to the ranks of its node. Fields indexed by the parity of the collective: a rank writes the next
/// collective's while slower peers still read the last one's.
struct alignas(128) RankBoard {
  // The first cache line is all that a collective without errors needs to read.
  std::atomic<std::uint64_t> phase{0};  ///< synchronisations that this rank has reached
  std::uint64_t digest[2] = {};
  Location location[2];

  alignas(64) std::atomic<bool> waits_for_other_nodes{false};
  std::atomic<bool> left{false};             ///< its communicator has been destroyed
  std::atomic<std::uint64_t> work_signs{0};  ///< how often it has shown that it is at work
  std::atomic<std::uint64_t> work_words{0};  ///< how often other nodes told it that they are
  std::atomic<std::uint64_t> device_at{0};   ///< number of the last collective whose input its device was seen to have ready
  ProcessId process;
  Signature signature[2];
};
static_assert(offsetof(RankBoard, waits_for_other_nodes) == 64);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);

/// What the ranks of a node share once.
struct alignas(128) NodeBoard {
  enum Failure : int { none, being_written, failed };
  enum Farewell : int { open, all_left, given_up };

  std::atomic<int> failure{none};
  std::atomic<int> farewell{open};
  std::atomic<int> leaving{0};
  char reason[1024] = {};  ///< of the failure
};

/// One rank's part of a node's shared memory.
struct SegmentPart {
  RankBoard* board = nullptr;
  std::byte* slots[2] = {};
  std::byte* staging = nullptr;

  static std::int64_t size_bytes(std::int64_t staging_bytes);
  /// `memory` starts on 128 bytes. The owner constructs the board once, before any peer uses it.
  static SegmentPart at(void* memory, bool construct);
};

struct Segment {
  NodeBoard* node = nullptr;
  std::vector<SegmentPart> parts;  ///< by local rank
  std::int64_t staging_bytes = 0;  ///< of each part
};

}  // namespace minim::detail
