#pragma once

#include <memory>
#include <new>
#include <vector>

#include "segment.h"

namespace minim::detail {

/// The segment of a node whose ranks are threads of one process.
class HeapSegment {
 public:
  explicit HeapSegment(int ranks) {
    segment_.node = &board_;
    segment_.staging_bytes = kStagingBytes;
    const auto part_bytes = static_cast<std::size_t>(SegmentPart::size_bytes(kStagingBytes));
    for (int r = 0; r < ranks; ++r) {
      memory_.emplace_back(static_cast<std::byte*>(::operator new(part_bytes, kAlignment)));
      segment_.parts.push_back(SegmentPart::at(memory_.back().get(), true));
    }
  }
  const Segment& segment() const { return segment_; }

 private:
  static constexpr std::align_val_t kAlignment{4096};
  struct Release {
    void operator()(std::byte* memory) const { ::operator delete(memory, kAlignment); }
  };
  NodeBoard board_;
  std::vector<std::unique_ptr<std::byte, Release>> memory_;
  Segment segment_;
};

}  // namespace minim::detail
