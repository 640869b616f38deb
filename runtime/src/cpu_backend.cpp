#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "kernel_sets.h"
#include "minim/runtime/backend.h"

namespace minim {
namespace {

constexpr std::int64_t kHugePageBytes = std::int64_t{2} << 20U;

class CpuBackend final : public Backend {
 public:
  CpuBackend(std::string_view name, int threads) : name_(name), threads_(threads) {
    if (threads < 1) throw InvalidArgument(fmt::format("backend \"{}\" of {} threads: 1 or more is wanted", name, threads));
  }

  std::string_view name() const override { return name_; }

  Buffer allocate(std::int64_t size_bytes, MemoryKind kind) override {
    if (size_bytes < 0) throw InvalidArgument(fmt::format("{} bytes of memory: 0 or more is wanted", size_bytes));
    const bool huge = size_bytes >= kHugePageBytes;
    const std::int64_t alignment_bytes = huge ? kHugePageBytes : kAlignmentBytes;
    // At least one byte, so that an empty tensor has an address, too.
    const auto reserved_bytes = static_cast<std::size_t>(std::max<std::int64_t>(size_bytes, 1));
    void* data = nullptr;
    if (posix_memalign(&data, static_cast<std::size_t>(alignment_bytes), reserved_bytes) != 0) {
      throw DeviceError(fmt::format("backend \"{}\" has no {} bytes of memory for {}; {} bytes are in use", name_, size_bytes,
                                    minim::name(kind), memory()->in_use_bytes()));
    }
    if (huge) madvise(data, reserved_bytes, MADV_HUGEPAGE);  // an optimisation: a kernel without huge pages may refuse
    return {data, size_bytes, kind, memory(), [](void* memory) { std::free(memory); }};
  }

  std::unique_ptr<Stream> make_stream(std::string name) override { return make_cpu_stream(std::move(name), threads_); }

  void copy(TensorView to, ConstTensorView from) override {
    detail::check_copy(to, from);
    if (from.size_bytes() > 0) std::memcpy(to.raw(), from.raw(), static_cast<std::size_t>(from.size_bytes()));
  }

 private:
  std::string name_;
  int threads_;
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(int threads) {
  auto backend = std::make_unique<CpuBackend>("cpu", threads);
  add_reference_kernels(*backend);
  add_vector_kernels(*backend);
  add_onednn_kernels(*backend, threads);
  return backend;
}

std::unique_ptr<Backend> make_reference_backend() {
  auto backend = std::make_unique<CpuBackend>("reference", 1);
  add_reference_kernels(*backend);
  return backend;
}

}  // namespace minim
