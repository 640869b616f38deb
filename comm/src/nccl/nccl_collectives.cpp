#include "nccl/nccl_collectives.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "cuda/cuda_backend.h"
#include "cuda/cuda_memory.h"
#include "cuda/cuda_stream.h"
#include "minim/runtime/error.h"
#include "nccl/check.h"
#include "nccl/nccl_communicator.h"
#include "nccl/sum_ranks.h"

namespace minim::nccl {
namespace {

using cuda::DeviceScope;
using detail::CollectiveKind;
using detail::Request;

/// How long kernels of NCCL may take to notice that they have been aborted.
constexpr std::chrono::microseconds kLongestAbort{2'000'000};

constexpr std::int64_t kWindowAlignmentBytes = 4096;

std::byte* part(void* data, std::int64_t part_bytes, int index) { return static_cast<std::byte*>(data) + index * part_bytes; }

/// Memory that NCCL has given, with its window. Outlives the collectives where the last owner of a buffer does.
class RegisteredMemory {
 public:
  explicit RegisteredMemory(std::shared_ptr<NcclCommunicator> communicator) : communicator_(std::move(communicator)) {}
  /// NCCL does not use it any more.
  ~RegisteredMemory() {
#if NCCL_VERSION_CODE >= NCCL_VERSION(2, 27, 0)
    if (window_ != nullptr && !communicator_->aborted()) ncclCommWindowDeregister(communicator_->handle(), window_);
#endif
    if (data_ != nullptr) ncclMemFree(data_);
  }
  RegisteredMemory(const RegisteredMemory&) = delete;
  RegisteredMemory& operator=(const RegisteredMemory&) = delete;

  /// All ranks at the same time, with the same size. Throws DeviceError, on all of them, where one has no room.
  void allocate(std::int64_t size_bytes, MemoryKind kind, const cuda::CudaDevice& device) {
    constexpr std::int64_t kHasRoom = -1;
    const auto reserved = static_cast<std::size_t>(round_up(std::max<std::int64_t>(size_bytes, 1), kWindowAlignmentBytes));
    const bool has_room = ncclMemAlloc(&data_, reserved) == ncclSuccess;
    const std::vector<std::int64_t> left_bytes = communicator_->gather(has_room ? kHasRoom : device.free_bytes());
    const auto full = std::find_if(left_bytes.begin(), left_bytes.end(), [](std::int64_t left) { return left != kHasRoom; });
    if (full != left_bytes.end()) {
      throw DeviceError(fmt::format("the CUDA device of rank {} has no {} bytes of memory for {}: {} bytes are free",
                                    full - left_bytes.begin(), size_bytes, name(kind), *full));
    }
#if NCCL_VERSION_CODE >= NCCL_VERSION(2, 27, 0)
    // Where ranks cannot reach each other's memory there is no window, and the memory is as good as any.
    check(ncclCommWindowRegister(communicator_->handle(), data_, reserved, &window_, NCCL_WIN_COLL_SYMMETRIC),
          "ncclCommWindowRegister");
    communicator_->settle("ncclCommWindowRegister");
#endif
  }
  void* data() const { return data_; }

 private:
  std::shared_ptr<NcclCommunicator> communicator_;
  void* data_ = nullptr;
#if NCCL_VERSION_CODE >= NCCL_VERSION(2, 27, 0)
  ncclWindow_t window_ = nullptr;
#endif
};

class NcclCollectives final : public detail::DeviceCollectives {
 public:
  NcclCollectives(Communicator& group, Backend& backend, std::chrono::milliseconds deadline)
      : rank_(group.rank()),
        size_(group.size()),
        device_(cuda::device_of(backend)),
        account_(backend.memory()),
        stream_(cuda::make_cuda_stream(device_, "communication", cuda::StreamPriority::high)) {
    const DeviceScope scope(*device_);
    communicator_ = std::make_shared<NcclCommunicator>(group, deadline);
  }
  ~NcclCollectives() override {
    if (!enqueued_ || !finished_.done()) abort();  // others may never come
  }

  std::string_view name() const override { return "nccl"; }

  bool is_device_memory(const void* address) const override { return cuda::memory_type(address) == cudaMemoryTypeDevice; }

  bool can_wait_for(const Event& event) const override { return cuda::is_of_cuda(event); }
  void start(const Request& request) override;
  bool enqueued() override;
  bool is_sound() override { return communicator_->settled(); }
  Event finished() const override { return finished_; }
  Buffer allocate(std::int64_t size_bytes, MemoryKind kind) override;
  void abort() noexcept override;

 private:
  void call(const Request& request);
  void exchange_parts(const void* send, void* receive, std::int64_t part_bytes, bool with_itself);
  void finish_enqueueing();

  int rank_;
  int size_;
  std::shared_ptr<cuda::CudaDevice> device_;
  std::shared_ptr<MemoryAccount> account_;
  std::unique_ptr<Stream> stream_;
  std::shared_ptr<NcclCommunicator> communicator_;
  Buffer received_;  // what the other ranks contribute to an FP32 sum; grows with the largest one
  std::vector<Buffer> outgrown_;

  // The collective that was started last.
  Request request_;
  bool enqueued_ = true;  // all of it
  Event finished_;        // of what is enqueued
};

void NcclCollectives::start(const Request& request) {
  const DeviceScope scope(*device_);
  if (finished_.done()) outgrown_.clear();
  stream_->wait(request.options.after);
  request_ = request;
  enqueued_ = false;
  if (request.times) request.times->begin = stream_->record_time();
  call(request);
}

void NcclCollectives::call(const Request& request) {
  void* const data = request.output.raw();
  const std::int64_t elements = request.input.elements();
  const std::int64_t part_bytes = request.input.size_bytes() / size_;
  const ncclComm_t handle = communicator_->handle();
  const cudaStream_t stream = cuda::handle_of(*stream_);
  const auto count = [](std::int64_t n) { return static_cast<std::size_t>(n); };
  switch (request.kind) {
    case CollectiveKind::all_reduce:
      return check(ncclAllReduce(data, data, count(elements), element_type(request.input.dtype()),
                                 communicator_->scaled_sum(request.input.dtype(), request.scale_exponent), handle, stream),
                   "ncclAllReduce");
    case CollectiveKind::reduce_scatter:
      return check(
          ncclReduceScatter(data, part(data, part_bytes, rank_), count(elements / size_), element_type(request.input.dtype()),
                            communicator_->scaled_sum(request.input.dtype(), request.scale_exponent), handle, stream),
          "ncclReduceScatter");
    case CollectiveKind::reduce_scatter_fp32:
      if (received_.size_bytes() < request.input.size_bytes()) {
        outgrown_.push_back(std::move(received_));  // what is enqueued may still use it
        received_ = cuda::allocate_on_device(device_, request.input.size_bytes(), MemoryKind::workspace, account_);
      }
      return exchange_parts(request.input.raw(), received_.data(), part_bytes, /*with_itself=*/false);
    case CollectiveKind::all_gather:
      return check(ncclAllGather(part(data, part_bytes, rank_), data, count(part_bytes), ncclUint8, handle, stream),
                   "ncclAllGather");
    case CollectiveKind::all_to_all: return exchange_parts(request.input.raw(), data, part_bytes, /*with_itself=*/true);
    case CollectiveKind::broadcast:
      return check(ncclBroadcast(data, data, count(request.input.size_bytes()), ncclUint8, request.root, handle, stream),
                   "ncclBroadcast");
    case CollectiveKind::barrier: break;  // has no tensors, so that the group does it
  }
}

/// Part r of `send` goes to rank r, part r of `receive` comes from it.
void NcclCollectives::exchange_parts(const void* send, void* receive, std::int64_t part_bytes, bool with_itself) {
  const ncclComm_t handle = communicator_->handle();
  const cudaStream_t stream = cuda::handle_of(*stream_);
  const auto count = static_cast<std::size_t>(part_bytes);
  check(ncclGroupStart(), "ncclGroupStart");
  for (int r = 0; r < size_; ++r) {
    if (r == rank_ && !with_itself) continue;
    check(ncclSend(part(const_cast<void*>(send), part_bytes, r), count, ncclUint8, r, handle, stream), "ncclSend");
    check(ncclRecv(part(receive, part_bytes, r), count, ncclUint8, r, handle, stream), "ncclRecv");
  }
  check(ncclGroupEnd(), "ncclGroupEnd");
}

bool NcclCollectives::enqueued() {
  if (!enqueued_ && communicator_->settled()) finish_enqueueing();
  return enqueued_;
}

/// NCCL's part is in the stream by now: not before may anything be put behind it.
void NcclCollectives::finish_enqueueing() {
  if (request_.kind == CollectiveKind::reduce_scatter_fp32) {
    const std::int64_t part_bytes = request_.input.size_bytes() / size_;
    sum_ranks(*stream_,
              {.own = part(const_cast<void*>(request_.input.raw()), part_bytes, rank_),
               .others = received_.data(),
               .dtype = request_.input.dtype(),
               .rank = rank_,
               .ranks = size_},
              request_.output);
  }
  if (request_.times) request_.times->end = stream_->record_time();
  finished_ = stream_->record();
  enqueued_ = true;
}

Buffer NcclCollectives::allocate(std::int64_t size_bytes, MemoryKind kind) {
  const DeviceScope scope(*device_);
  auto memory = std::make_shared<RegisteredMemory>(communicator_);
  memory->allocate(size_bytes, kind, *device_);
  void* const data = memory->data();
  return {data, size_bytes, kind, account_, [memory = std::move(memory)](void*) mutable { memory.reset(); }};
}

void NcclCollectives::abort() noexcept {
  try {
    const DeviceScope scope(*device_);
    communicator_->abort();
    stream_->record().wait_for(kLongestAbort);  // kernels that still run use memory of the caller's
  } catch (const std::exception&) {
    // A lost device does nothing more.
  }
}

}  // namespace

std::unique_ptr<detail::DeviceCollectives> make_nccl_collectives(Communicator& group, Backend& backend,
                                                                 std::chrono::milliseconds deadline) {
  return std::make_unique<NcclCollectives>(group, backend, deadline);
}

}  // namespace minim::nccl
