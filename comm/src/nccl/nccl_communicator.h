#pragma once

#include <nccl.h>

#include <chrono>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "minim/comm/communicator.h"

namespace minim::nccl {

/// Owns an ncclComm_t, whose calls do not block: each is followed by `settled` until it returns true, and nothing else is called
/// meanwhile.
class NcclCommunicator {
 public:
  /// Meets the other ranks of `group`, with the calling thread's current device. Throws CommError after the deadline.
  NcclCommunicator(Communicator& group, std::chrono::milliseconds deadline);
  /// Waits for a moment until the other ranks have done with what was called.
  ~NcclCommunicator();
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  ncclComm_t handle() const { return handle_; }
  /// Whether the last call has been carried out, which for collectives means that they are enqueued. Throws CommError for what
  /// has failed since.
  bool settled();
  /// Waits for that. Throws CommError that names `call` after the deadline, and what the group throws; it is aborted then.
  void settle(const char* call);
  /// What each rank says, over the host.
  std::vector<std::int64_t> gather(std::int64_t here);
  /// The sum of all ranks' values times 2^e each.
  ncclRedOp_t scaled_sum(DType dtype, int scale_exponent);
  bool aborted() const { return handle_ == nullptr; }
  void abort() noexcept;

 private:
  bool poll_until(std::chrono::steady_clock::time_point end);

  Communicator& group_;
  std::chrono::milliseconds deadline_;
  ncclComm_t handle_ = nullptr;
  std::optional<std::chrono::steady_clock::time_point> failed_since_;
  std::map<std::pair<DType, int>, ncclRedOp_t> scaled_sums_;
};

/// The element type of reductions. Throws InvalidArgument where NCCL does not add such elements.
ncclDataType_t element_type(DType dtype);

}  // namespace minim::nccl
