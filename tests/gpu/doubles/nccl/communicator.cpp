#include "nccl/communicator.h"

#include <cstring>
#include <thread>

#include "double.h"

namespace {

std::string identity_of_current_device() {
  int device = 0;
  cudaDeviceProp properties{};
  if (cudaGetDevice(&device) != cudaSuccess || cudaGetDeviceProperties(&properties, device) != cudaSuccess) {
    double_refuse("NCCL is used without a device");
  }
  return {properties.uuid.bytes, sizeof properties.uuid.bytes};
}

}  // namespace

ncclComm::ncclComm(const std::string& name, int rank, int size, bool blocking)
    : group(std::make_shared<nccl_double::SharedGroup>(name, rank, size, identity_of_current_device().data())),
      blocking_(blocking) {
  carry_out([this] { return group->all_arrived(); },
            [this] {
              group->forget_name();
              error_ = check_devices();
            });
}

/// As NCCL: ranks of one machine may not share a device.
ncclResult_t ncclComm::check_devices() const {
  for (int a = 0; a < group->size(); ++a) {
    for (int b = 0; b < a; ++b) {
      if (std::memcmp(group->member(a).device, group->member(b).device, sizeof group->member(a).device) == 0) {
        return ncclInvalidUsage;
      }
    }
  }
  return ncclSuccess;
}

ncclResult_t ncclComm::look() {
  constexpr int kLooksBefore = 1;
  if (!settled_ && (blocking_ || looks_++ >= kLooksBefore) && ready_()) {
    settled_ = true;
    carry_out_();
  }
  if (error_ == ncclSuccess && group->lost_peer()) error_ = ncclRemoteError;
  if (error_ != ncclSuccess) return error_;
  return settled_ ? ncclSuccess : ncclInProgress;
}

ncclResult_t ncclComm::begin(const char* function) {
  if (destroyed) double_refuse((std::string(function) + " is called with a communicator that is destroyed or aborted").c_str());
  if (!settled_) {
    double_refuse(
        (std::string(function) + " is called before the call before it has been carried out: NCCL refuses that").c_str());
  }
  return error_;
}

ncclResult_t ncclComm::carry_out(std::function<bool()> ready, std::function<void()> how) {
  settled_ = false;
  looks_ = 0;
  ready_ = std::move(ready);
  carry_out_ = std::move(how);
  if (!blocking_) return ncclInProgress;
  ncclResult_t result = ncclInProgress;
  while ((result = look()) == ncclInProgress) std::this_thread::yield();
  return result;
}

bool ncclComm::in_window(const void* data, std::size_t bytes) const {
  const auto* const start = static_cast<const char*>(data);
  for (const auto& [window, window_bytes] : windows) {
    if (window <= start && start + bytes <= window + window_bytes) return true;
  }
  return false;
}
