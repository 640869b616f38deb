#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "double.h"

namespace cudart {

/// Kernels, by the addresses and the names under which programs ask for them.
class KernelTable {
 public:
  static KernelTable& instance();

  void add(const double_kernel& kernel, const void* function);
  /// nvcc's host code: `stub` stands for the kernel of that mangled name.
  void add_stub(const void* stub, const char* name);

  /// Null where `function` is no kernel at all. Refuses a kernel that no library has on the CPU.
  const double_kernel* find(const void* function);

  std::size_t dynamic_shared_limit(const void* function) const;
  void set_dynamic_shared_limit(const void* function, std::size_t size_bytes);

 private:
  struct Tables;
  KernelTable();
  void load_libraries();
  std::unique_ptr<Tables> tables_;
};

}  // namespace cudart
