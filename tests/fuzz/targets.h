#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace minim::testing {

/// A reader of files that come from anywhere.
struct FuzzTarget {
  std::string name;
  /// Reads `bytes` as such a file, with sound files beside it, and all that is in it. Returns whatever they are; what is wrong
  /// with them is a DataError, caught here. Anything else is a fault of the reader.
  void (*read)(std::span<const std::uint8_t> bytes);
};

const std::vector<FuzzTarget>& fuzz_targets();

}  // namespace minim::testing
