#include "emulation/grid.h"

#include <link.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <numeric>
#include <thread>
#include <vector>

#include "emulation/block.h"

namespace minim::emulation {
namespace {

/// The thread-local variables without a value of their own of one library, which are the shared memory of its kernels.
struct SharedMemory {
  const char* inside;
  char* begin = nullptr;
  std::size_t size_bytes = 0;
};

int find_shared_memory(dl_phdr_info* library, std::size_t /*info_bytes*/, void* context) {
  auto& memory = *static_cast<SharedMemory*>(context);
  // A program has other thread-local variables, so that its kernels' shared memory is left as it is.
  if (library->dlpi_tls_data == nullptr || library->dlpi_name[0] == '\0') return 0;
  for (int i = 0; i < library->dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = library->dlpi_phdr[i];
    auto* begin = static_cast<char*>(library->dlpi_tls_data);
    if (segment.p_type != PT_TLS || memory.inside < begin || memory.inside >= begin + segment.p_memsz) continue;
    memory.begin = begin + segment.p_filesz;
    memory.size_bytes = segment.p_memsz - segment.p_filesz;
    return 1;
  }
  return 0;
}

/// The calling thread runs every `stride`-th block of `order` from `first` on. Shared memory is not zero on a GPU: it is filled
/// with NaN, so that what a block has not written is not taken for what an earlier one has.
void run_blocks(const Grid& grid, const std::vector<std::uint64_t>& order, std::size_t first, std::size_t stride) {
  SharedMemory memory{static_cast<char*>(grid.shared())};
  dl_iterate_phdr(find_shared_memory, &memory);
  const double_dim size = grid.grid;
  for (std::size_t i = first; i < order.size(); i += stride) {
    const std::uint64_t block = order[i];
    // A loop of this library's: ThreadSanitizer would take a library function's accesses for the kernel's.
    for (std::size_t byte = 0; byte < memory.size_bytes; ++byte) const_cast<volatile char*>(memory.begin)[byte] = '\xFF';
    const uint3 index = make_uint3(static_cast<unsigned>(block % size.x), static_cast<unsigned>(block / size.x % size.y),
                                   static_cast<unsigned>(block / size.x / size.y));
    Block::current().run(grid, index, grid.seed + block);
  }
}

/// A second thread that runs blocks, so that blocks are unordered to ThreadSanitizer.
class Companion {
 public:
  ~Companion() {
    start(nullptr, nullptr, true);
    if (thread_.joinable()) thread_.join();
  }
  void start(const Grid* grid, const std::vector<std::uint64_t>* order, bool ends = false) {
    if (!ends && !thread_.joinable()) thread_ = std::thread([this] { serve(); });
    const std::scoped_lock lock(mutex_);
    grid_ = grid;
    order_ = order;
    ends_ = ends;
    changed_.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return grid_ == nullptr; });
  }

 private:
  void serve() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return ends_ || grid_ != nullptr; });
      if (ends_) return;
      lock.unlock();
      run_blocks(*grid_, *order_, 1, 2);
      lock.lock();
      grid_ = nullptr;
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  const Grid* grid_ = nullptr;
  const std::vector<std::uint64_t>* order_ = nullptr;
  bool ends_ = false;
  std::thread thread_;
};

}  // namespace

void run(const Grid& grid) {
  std::vector<std::uint64_t> order(std::uint64_t{grid.grid.x} * grid.grid.y * grid.grid.z);
  std::iota(order.begin(), order.end(), std::uint64_t{0});
  std::shuffle(order.begin(), order.end(), std::minstd_rand(static_cast<unsigned>(grid.seed % 2147483646U) + 1));
  if (!doubles::has_thread_sanitizer() || order.size() < 2) return run_blocks(grid, order, 0, 1);
  thread_local Companion companion;
  companion.start(&grid, &order);
  run_blocks(grid, order, 0, 2);
  companion.wait();
}

uint3 thread_index() { return Block::current().thread().index; }
uint3 block_index() { return Block::current().index(); }
unsigned lane() { return Block::current().thread().number % kWarpThreads; }

dim3 block_size() {
  const double_dim size = Block::current().grid().block;
  return {size.x, size.y, size.z};
}

dim3 grid_size() {
  const double_dim size = Block::current().grid().grid;
  return {size.x, size.y, size.z};
}

void barrier(const std::source_location& place) { Block::current().barrier(place); }
void warp_barrier(unsigned mask, const std::source_location& place) { Block::current().warp_barrier(mask, place); }

std::uint64_t shuffle(unsigned mask, std::uint64_t value, unsigned source, const std::source_location& place) {
  return Block::current().shuffle(mask, value, source, place);
}

}  // namespace minim::emulation
