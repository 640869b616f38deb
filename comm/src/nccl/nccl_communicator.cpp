#include "nccl/nccl_communicator.h"

#include <fmt/format.h>

#include <cmath>
#include <thread>

#include "minim/runtime/error.h"
#include "minim/runtime/half.h"
#include "nccl/check.h"

namespace minim::nccl {
namespace {

using Clock = std::chrono::steady_clock;

/// When NCCL finds that something is wrong with a peer, the group learns which one it is, and says more than NCCL would.
constexpr std::chrono::milliseconds kGraceOfErrors{1000};
constexpr std::chrono::milliseconds kFarewell{2000};
constexpr std::chrono::microseconds kBetweenPolls{100};

}  // namespace

NcclCommunicator::NcclCommunicator(Communicator& group, std::chrono::milliseconds deadline) : group_(group), deadline_(deadline) {
  try {
    ncclUniqueId id{};
    if (group.rank() == 0) check(ncclGetUniqueId(&id), "ncclGetUniqueId");
    const TensorView bytes(&id, DType::uint8, Shape{static_cast<std::int64_t>(sizeof id)});
    group.broadcast(bytes, 0, {.label = "NCCL's identifier", .after = {}}).wait();
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    check(ncclCommInitRankConfig(&handle_, group.size(), id, group.rank(), &config), "ncclCommInitRankConfig");
    settle("ncclCommInitRankConfig");
    group.barrier({.label = "NCCL's initialisation", .after = {}}).wait();
  } catch (const std::exception& error) {
    abort();
    group.abort(error.what());
    throw;
  }
}

NcclCommunicator::~NcclCommunicator() {
  if (aborted()) return;
  for (const auto& [key, sum] : scaled_sums_) ncclRedOpDestroy(sum, handle_);
  ncclCommFinalize(handle_);
  if (poll_until(Clock::now() + kFarewell)) {
    ncclCommDestroy(handle_);
  } else {
    abort();
  }
}

bool NcclCommunicator::poll_until(Clock::time_point end) {
  ncclResult_t state = ncclInProgress;
  while (ncclCommGetAsyncError(handle_, &state) == ncclSuccess && state == ncclInProgress && Clock::now() < end) {
    std::this_thread::sleep_for(kBetweenPolls);
  }
  return state == ncclSuccess;
}

bool NcclCommunicator::settled() {
  ncclResult_t state = ncclSuccess;
  check(ncclCommGetAsyncError(handle_, &state), "ncclCommGetAsyncError");
  if (state == ncclSuccess || state == ncclInProgress) return state == ncclSuccess;
  const auto now = Clock::now();
  if (!failed_since_) failed_since_ = now;
  if (now - *failed_since_ >= kGraceOfErrors) throw CommError("NCCL reports " + describe(state));
  return false;
}

void NcclCommunicator::settle(const char* call) {
  const auto end = Clock::now() + deadline_;
  try {
    while (!settled()) {
      group_.progress();  // throws when another rank has given up
      if (Clock::now() >= end) {
        throw CommError(fmt::format("NCCL has not carried out {} on all ranks after {:.1f} s", call,
                                    std::chrono::duration<double>(deadline_).count()));
      }
      std::this_thread::sleep_for(kBetweenPolls);
    }
  } catch (const std::exception&) {
    abort();  // nothing else may be called before the call has been carried out
    throw;
  }
}

std::vector<std::int64_t> NcclCommunicator::gather(std::int64_t here) {
  std::vector<std::int64_t> values(static_cast<std::size_t>(group_.size()));
  values[static_cast<std::size_t>(group_.rank())] = here;
  const TensorView view(values.data(), DType::int64, Shape{group_.size()});
  group_.all_gather(view, {.label = "agreement on memory", .after = {}}).wait();
  return values;
}

ncclRedOp_t NcclCommunicator::scaled_sum(DType dtype, int scale_exponent) {
  if (scale_exponent == 0) return ncclSum;
  const auto found = scaled_sums_.find({dtype, scale_exponent});
  if (found != scaled_sums_.end()) return found->second;
  ncclRedOp_t sum{};
  dispatch_floating(dtype, [&](auto element) {
    const float scale = std::ldexp(1.0F, scale_exponent);
    auto factor = round_to<decltype(element)>(scale);
    if (to_float(factor) != scale) {
      throw InvalidArgument(
          fmt::format("NCCL cannot scale {} by 2^{}: no {} has that value", name(dtype), scale_exponent, name(dtype)));
    }
    check(ncclRedOpCreatePreMulSum(&sum, &factor, element_type(dtype), ncclScalarHostImmediate, handle_),
          "ncclRedOpCreatePreMulSum");
  });
  scaled_sums_.emplace(std::pair(dtype, scale_exponent), sum);
  return sum;
}

void NcclCommunicator::abort() noexcept {
  if (!aborted()) ncclCommAbort(std::exchange(handle_, nullptr));
}

ncclDataType_t element_type(DType dtype) {
  switch (dtype) {
    case DType::fp32: return ncclFloat32;
    case DType::fp16: return ncclFloat16;
    case DType::bf16: return ncclBfloat16;
    default: throw InvalidArgument(fmt::format("NCCL is not used to add {}", name(dtype)));
  }
}

}  // namespace minim::nccl
