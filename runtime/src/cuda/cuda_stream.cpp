#include "cuda/cuda_stream.h"

#include <nvtx3/nvToolsExt.h>

#include <atomic>
#include <vector>

#include "cuda/check.h"
#include "cuda/cuda_event.h"
#include "cuda/cuda_kernel.h"
#include "cuda/cuda_time.h"
#include "cuda/graph_cache.h"
#include "minim/runtime/error.h"

namespace minim::cuda {
namespace {

/// Work for a thread of the driver, which is given a pointer to it.
struct HostWork {
  std::shared_ptr<CudaDevice> device;
  std::uint64_t number = 0;
  Event awaited;
  const std::function<void()>* borrowed = nullptr;
  std::function<void()> owned;

  void run() {
    if (device->failure_before(number)) return;
    try {
      awaited.wait();
      if (borrowed != nullptr) (*borrowed)();
      if (owned) owned();
    } catch (...) {
      device->fail(number, std::current_exception());
    }
  }
};

void run_host_work(void* work) {
  const std::unique_ptr<HostWork> owner(static_cast<HostWork*>(work));
  owner->run();
}

class CudaStream final : public Stream {
 public:
  CudaStream(std::shared_ptr<CudaDevice> device, std::string name, StreamPriority priority, CudaGraphs graphs)
      : device_(std::move(device)), name_(std::move(name)), keeps_back_(graphs != CudaGraphs::off), graphs_(graphs) {
    const DeviceScope scope(*device_);
    int lowest = 0, highest = 0;
    check(cudaDeviceGetStreamPriorityRange(&lowest, &highest), "cudaDeviceGetStreamPriorityRange");
    check(cudaStreamCreateWithPriority(&handle_, cudaStreamNonBlocking, priority == StreamPriority::high ? highest : lowest),
          "cudaStreamCreateWithPriority");
  }

  ~CudaStream() override {
    try {
      handle();
    } catch (const std::exception&) {
      // A lost device does nothing more.
    }
    cudaStreamSynchronize(handle_);
    state_.reset();
    cudaStreamDestroy(handle_);
  }

  void enqueue(std::function<void()> work) override { enqueue_host({.owned = std::move(work)}); }
  void enqueue_borrowed(const std::function<void()>* work) override { enqueue_host({.borrowed = work}); }

  void wait(const Event& event) override {
    const auto& state = event.state();
    if (!state) return;
    if (const auto* recorded = dynamic_cast<const CudaEventState*>(state.get())) {
      check(cudaStreamWaitEvent(handle(), recorded->handle(), 0), "cudaStreamWaitEvent");
    } else {
      enqueue_host({.awaited = event});
    }
  }

  Event record() override {
    auto state = std::make_shared<CudaEventState>(device_);
    state->record(handle());
    return Event(std::move(state));
  }

  void synchronize() override { record().wait(); }

  std::shared_ptr<const TimePoint> record_time() override { return record_cuda_time(device_, handle()); }

  void begin_range(const char* name) override {
    handle();  // what was kept back is not of the range
    nvtxRangePushA(name);
  }
  void end_range() override {
    handle();
    nvtxRangePop();
  }

  void copy(TensorView to, ConstTensorView from) override {
    minim::detail::check_copy(to, from);
    if (to.size_bytes() == 0) return;
    check(cudaMemcpyAsync(to.raw(), from.raw(), static_cast<std::size_t>(to.size_bytes()), cudaMemcpyDefault, handle()),
          "cudaMemcpyAsync");
  }

  void give(const CudaKernelCall& call) {
    if (!keeps_back_) return call.enqueue(*this);
    kept_back_.push_back(&call);
  }

  /// After everything that was given has been enqueued.
  cudaStream_t handle() {
    if (kept_back_.empty()) return handle_;
    enqueued_.swap(kept_back_);  // the kernels ask for the handle, too
    kept_back_.clear();
    graphs_.enqueue(enqueued_, *this, handle_);
    return handle_;
  }

  CudaDevice& device() const { return *device_; }
  std::unique_ptr<StreamState>& state() { return state_; }

 private:
  void enqueue_host(HostWork work) {
    auto owner = std::make_unique<HostWork>(std::move(work));
    owner->device = device_;
    owner->number = device_->next_number();
    check(cudaLaunchHostFunc(handle(), run_host_work, owner.get()), "cudaLaunchHostFunc");
    owner.release();  // run_host_work deletes it
  }

  std::shared_ptr<CudaDevice> device_;
  std::string name_;
  cudaStream_t handle_ = nullptr;
  std::unique_ptr<StreamState> state_;
  bool keeps_back_;
  std::vector<const CudaKernelCall*> kept_back_, enqueued_;
  GraphCache graphs_;
};

CudaStream& cuda_stream(Stream& stream) {
  auto* found = dynamic_cast<CudaStream*>(&stream);
  if (found == nullptr) throw InvalidArgument("a CUDA kernel was given a stream of another backend");
  return *found;
}

}  // namespace

std::unique_ptr<Stream> make_cuda_stream(std::shared_ptr<CudaDevice> device, std::string name, StreamPriority priority,
                                         CudaGraphs graphs) {
  return std::make_unique<CudaStream>(std::move(device), std::move(name), priority, graphs);
}

void give(Stream& stream, const CudaKernelCall& call) { cuda_stream(stream).give(call); }

std::uint64_t next_call_number() {
  static std::atomic<std::uint64_t> numbers = 0;
  return ++numbers;
}

cudaStream_t handle_of(Stream& stream) { return cuda_stream(stream).handle(); }

bool is_of_cuda(const Event& event) {
  return !event.state() || dynamic_cast<const CudaEventState*>(event.state().get()) != nullptr;
}

CudaDevice& device_of(Stream& stream) { return cuda_stream(stream).device(); }

std::unique_ptr<StreamState>& state_of(Stream& stream) { return cuda_stream(stream).state(); }

}  // namespace minim::cuda
