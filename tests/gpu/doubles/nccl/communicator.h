#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "nccl/collective.h"

/// What an ncclComm_t points to.
struct ncclComm {
 public:
  ncclComm(const std::string& name, int rank, int size, bool blocking);

  /// What the last call has come to. What a call on a non-blocking communicator began is carried out at the second look: who
  /// takes it for done before finds that it is not.
  ncclResult_t look();
  /// Calls that need the communicator: refuses one that is aborted, or has not settled.
  ncclResult_t begin(const char* function);
  /// Carries out what a call has begun, now or later; `ready` says when, and `carry_out` how.
  ncclResult_t carry_out(std::function<bool()> ready, std::function<void()> carry_out);

  std::shared_ptr<nccl_double::SharedGroup> group;
  std::map<int, float> scales;  ///< of operations that scale first
  int next_operation = ncclNumOps + 1;
  std::map<const char*, std::size_t> windows;  ///< start and bytes
  bool destroyed = false;

  bool in_window(const void* data, std::size_t bytes) const;

 private:
  ncclResult_t check_devices() const;

  bool blocking_;
  bool settled_ = true;
  int looks_ = 0;
  std::function<bool()> ready_;
  std::function<void()> carry_out_;
  ncclResult_t error_ = ncclSuccess;
};
