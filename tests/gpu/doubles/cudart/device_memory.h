#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "cudart/address_space.h"

namespace cudart {

/// A piece of memory that the program holds.
struct Allocation {
  int device = 0;
  Placement placement;
};

/// The memory of all devices. It is mapped twice: the addresses that the program knows are never accessible, so that the host
/// faults where it touches them; kernels and copies reach the same bytes at other addresses, accessible only while they are
/// allocated.
class DeviceMemory {
 public:
  static DeviceMemory& instance();

  /// Null where `device` has no room. Fresh memory is filled with 0xFF.
  void* allocate(int device, std::size_t size_bytes);
  /// Fills the piece as fresh memory, in the calling thread's name.
  void refresh(const void* pointer);
  /// False where `pointer` is not the start of a piece. Refuses when bytes beside the piece have been overwritten.
  bool release(const void* pointer);

  bool contains(const void* pointer) const;
  bool contains_alias(const void* pointer) const;
  /// Where kernels reach what the program knows as `pointer`. Addresses outside device memory are their own.
  char* alias(const void* pointer) const;
  const char* original(const void* alias) const;

  /// The piece that `pointer` points into, or to the end of.
  std::optional<Allocation> find(const void* pointer) const;
  /// Where a device address lies, in words, for messages about faults.
  std::string describe(const void* pointer) const;
  std::size_t used_bytes(int device) const;

 private:
  DeviceMemory();
  void protect(const Placement& placement, int protection) const;

  char* base_ = nullptr;
  char* alias_ = nullptr;
  mutable std::mutex mutex_;
  AddressSpace space_;
  std::map<std::size_t, Allocation> allocations_;  // by the offset of their pages
  std::map<std::size_t, Allocation> freed_;
  std::vector<std::size_t> used_bytes_;  // of each device
};

}  // namespace cudart
