#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <optional>

#include "cudart/address_space.h"

namespace cudart {

/// A piece of page-locked memory.
struct HostPiece {
  const char* start = nullptr;
  std::size_t size_bytes = 0;
  int device = 0;  ///< that was current when it was made
  bool registered = false;
  Placement placement;  ///< where it is not registered
};

/// Page-locked memory of the host: allocated here, with inaccessible gaps, or registered by the program.
class HostMemory {
 public:
  static HostMemory& instance();

  /// Fresh memory is filled with 0xFF.
  void* allocate(int device, std::size_t size_bytes);
  /// False where `pointer` is not the start of such a piece. Refuses when bytes beside the piece have been overwritten.
  bool release(const void* pointer);
  /// False where part of the range is page-locked already.
  bool add(const void* pointer, std::size_t size_bytes, int device);
  bool remove(const void* pointer);

  /// Whether `pointer` is in the range that `allocate` takes memory from.
  bool contains(const void* pointer) const;
  std::optional<HostPiece> find(const void* pointer) const;

 private:
  HostMemory();

  char* base_ = nullptr;
  mutable std::mutex mutex_;
  AddressSpace space_;
  std::map<const char*, HostPiece> pieces_;
};

}  // namespace cudart
