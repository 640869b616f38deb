#include "cuda/cudnn/execution.h"

#include <fmt/format.h>

#include "cuda/cuda_stream.h"

namespace minim::cuda::cudnn {
namespace {

class Handle final : public StreamState {
 public:
  explicit Handle(cudaStream_t stream) {
    check(cudnnCreate(&handle_), "cudnnCreate");
    const cudnnStatus_t status = cudnnSetStream(handle_, stream);
    if (status != CUDNN_STATUS_SUCCESS) cudnnDestroy(handle_);
    check(status, "cudnnSetStream");
  }
  ~Handle() override { cudnnDestroy(handle_); }
  cudnnHandle_t get() const { return handle_; }

 private:
  cudnnHandle_t handle_ = nullptr;
};

cudnnHandle_t cudnn_handle_of(Stream& stream) {
  std::unique_ptr<StreamState>& state = state_of(stream);
  if (!state) state = std::make_unique<Handle>(handle_of(stream));
  return static_cast<const Handle&>(*state).get();
}

Descriptor memory_of(const std::vector<BoundTensor>& tensors, TensorView workspace) {
  std::vector<std::int64_t> ids;
  std::vector<void*> addresses;
  for (const BoundTensor& tensor : tensors) {
    ids.push_back(tensor.id);
    addresses.push_back(const_cast<void*>(tensor.view.raw()));
    if (reinterpret_cast<std::uintptr_t>(addresses.back()) % kTensorAlignmentBytes == 0) continue;
    throw InvalidArgument(fmt::format("a convolution's tensor {} on a CUDA device starts at {}: a multiple of {} is wanted",
                                      tensor.view.shape().to_string(), addresses.back(), kTensorAlignmentBytes));
  }
  Descriptor memory(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  return memory.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, std::span<const std::int64_t>(ids))
      .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, std::span<void* const>(addresses))
      .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, workspace.raw())
      .finalize();
}

}  // namespace

Execution::Execution(std::shared_ptr<const Plan> plan, const std::vector<BoundTensor>& tensors, TensorView workspace)
    : plan_(std::move(plan)), memory_(memory_of(tensors, workspace)) {
  if (workspace.size_bytes() >= plan_->workspace_bytes) return;
  throw InvalidArgument(fmt::format("a convolution was given a workspace of {} bytes, it wants {}", workspace.size_bytes(),
                                    plan_->workspace_bytes));
}

void Execution::enqueue(Stream& stream) const {
  const DeviceScope scope(device_of(stream));
  check(cudnnBackendExecute(cudnn_handle_of(stream), plan_->descriptor.raw(), memory_.raw()), "cudnnBackendExecute");
}

}  // namespace minim::cuda::cudnn
