#include "cudart/kernel_table.h"

#include <dlfcn.h>

#include <map>
#include <mutex>

#include "cudart/refuse.h"
#include "cudart/settings.h"
#include "sanitizers.h"

namespace cudart {

struct KernelTable::Tables {
  mutable std::mutex mutex;
  std::map<const void*, double_kernel> by_address;
  std::map<std::string, double_kernel> by_name;
  std::map<const void*, std::string> stubs;
  std::map<const void*, std::size_t> shared_limits;
  std::once_flag loaded;
};

KernelTable& KernelTable::instance() {
  static KernelTable& table = *new KernelTable;  // outlives every thread
  return table;
}

KernelTable::KernelTable() : tables_(std::make_unique<Tables>()) {}

void KernelTable::add(const double_kernel& kernel, const void* function) {
  const std::scoped_lock lock(tables_->mutex);
  tables_->by_address[function] = kernel;
  tables_->by_name[kernel.name] = kernel;
}

void KernelTable::add_stub(const void* stub, const char* name) {
  const std::scoped_lock lock(tables_->mutex);
  tables_->stubs[stub] = name;
}

/// The libraries' kernels add themselves, so the lock is not held.
void KernelTable::load_libraries() {
  for (const std::string& library : settings().kernel_libraries) {
    const doubles::Shown shown;
    if (dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL) == nullptr) {
      refuse("the library of emulated kernels " + library + " cannot be loaded: " + dlerror());
    }
  }
}

const double_kernel* KernelTable::find(const void* function) {
  std::call_once(tables_->loaded, [this] { load_libraries(); });
  const std::scoped_lock lock(tables_->mutex);
  if (const auto found = tables_->by_address.find(function); found != tables_->by_address.end()) return &found->second;
  const auto stub = tables_->stubs.find(function);
  if (stub == tables_->stubs.end()) return nullptr;
  const auto found = tables_->by_name.find(stub->second);
  if (found == tables_->by_name.end()) {
    refuse("kernel " + stub->second + " is in none of the libraries of MINIM_DOUBLE_KERNELS");
  }
  return &found->second;
}

std::size_t KernelTable::dynamic_shared_limit(const void* function) const {
  constexpr std::size_t kWithoutAsking = 48 << 10;
  const std::scoped_lock lock(tables_->mutex);
  const auto found = tables_->shared_limits.find(function);
  return found == tables_->shared_limits.end() ? kWithoutAsking : found->second;
}

void KernelTable::set_dynamic_shared_limit(const void* function, std::size_t size_bytes) {
  const std::scoped_lock lock(tables_->mutex);
  tables_->shared_limits[function] = size_bytes;
}

}  // namespace cudart

void double_register_kernel(const double_kernel* kernel, const void* function) {
  const doubles::Hidden hidden;
  cudart::KernelTable::instance().add(*kernel, function);
}
