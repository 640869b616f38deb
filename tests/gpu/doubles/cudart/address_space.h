#pragma once

#include <cstddef>

namespace cudart {

/// Where a piece of memory lies: right at the end of its pages, so that what runs over it meets the inaccessible gap behind them.
/// Offsets are from the start of the space. What is left of the pages is slack.
struct Placement {
  std::size_t pages_offset = 0;
  std::size_t pages_bytes = 0;
  std::size_t offset = 0;
  std::size_t size_bytes = 0;  ///< as asked for

  /// From `offset` to the end of the pages: the alignment's bytes are slack, too.
  std::size_t reserved_bytes() const { return pages_offset + pages_bytes - offset; }
  std::size_t end() const { return offset + size_bytes; }
};

/// A range of addresses that pieces are placed in, with gaps between them and never at the same address twice.
class AddressSpace {
 public:
  static constexpr std::size_t kSizeBytes = std::size_t{1} << 37;
  static constexpr std::size_t kAlignment = 256;

  /// Refuses to go on when all addresses have been used.
  Placement place(std::size_t size_bytes);

 private:
  std::size_t used_bytes_ = 0;
};

/// Fresh memory: every byte 0xFF, which is NaN in every floating-point type. The slack is marked, and poisoned for
/// AddressSanitizer.
void fill_fresh(char* space, const Placement& placement);
/// Whether the slack's marks are as they were.
bool is_slack_intact(const char* space, const Placement& placement);
/// Takes the poison off.
void forget(const char* space, const Placement& placement);

}  // namespace cudart
