#include "nccl/shared_group.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <fstream>
#include <thread>

#include "double.h"

namespace nccl_double {
namespace {

/// Zombies have ended, too.
bool has_ended(int process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/stat");
  std::string line;
  if (!std::getline(file, line)) return true;
  const auto behind_name = line.rfind(") ");
  return behind_name != std::string::npos && line[behind_name + 2] == 'Z';
}

}  // namespace

SharedGroup::SharedGroup(const std::string& name, int rank, int size, const char* device)
    : name_(name), rank_(rank), size_(size) {
  const int file = ::shm_open(name.c_str(), O_CREAT | O_RDWR, 0600);
  if (file < 0 || ::ftruncate(file, sizeof(SharedMemory)) != 0) double_refuse("the double of NCCL gets no shared memory");
  void* const memory = ::mmap(nullptr, sizeof(SharedMemory), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  ::close(file);
  if (memory == MAP_FAILED) double_refuse("the double of NCCL cannot map its shared memory");
  memory_ = static_cast<SharedMemory*>(memory);
  std::memcpy(own().device, device, sizeof own().device);
  own().process = ::getpid();
  arrive({});
}

SharedGroup::~SharedGroup() {
  forget_name();
  ::munmap(memory_, sizeof(SharedMemory));
}

void SharedGroup::forget_name() const {
  if (rank_ == 0) ::shm_unlink(name_.c_str());
}

void SharedGroup::arrive(const Call& call) {
  ++host_meetings_;
  own().host_calls[host_meetings_ % 2] = call;
  memory_->host_arrivals.fetch_add(1);
}

bool SharedGroup::meet() {
  memory_->device_arrivals.fetch_add(1);
  const std::uint64_t wanted = ++device_meetings_ * static_cast<std::uint64_t>(size_);
  return wait_until([&] { return memory_->device_arrivals >= wanted; });
}

bool SharedGroup::wait_until(const std::function<bool()>& holds) {
  constexpr int kYields = 200, kSleepsBetweenLooks = 200;
  constexpr std::chrono::microseconds kSleep{50};
  for (int tries = 0; !holds(); ++tries) {
    if (aborted_) return false;
    if (tries < kYields) {
      sched_yield();
      continue;
    }
    std::this_thread::sleep_for(kSleep);
    if (tries % kSleepsBetweenLooks == 0 && find_lost_peer()) return false;
  }
  return true;
}

bool SharedGroup::find_lost_peer() {
  for (int r = 0; r < size_ && !lost_peer_; ++r) {
    const int process = member(r).process;
    if (process != 0 && process != ::getpid() && has_ended(process)) lost_peer_ = true;
  }
  return lost_peer_;
}

}  // namespace nccl_double
