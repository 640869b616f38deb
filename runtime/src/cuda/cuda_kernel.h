#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "minim/runtime/backend.h"

namespace minim::cuda {

/// A call that was bound to its arguments when it was prepared.
class CudaKernelCall final : public KernelCall {
 public:
  explicit CudaKernelCall(std::function<void(Stream&)> enqueue) : enqueue_(std::move(enqueue)) {}
  void launch(Stream& stream) const override { enqueue_(stream); }

 private:
  std::function<void(Stream&)> enqueue_;
};

/// Wraps `make(args)`, which returns the `std::function<void(Stream&)>` that enqueues the kernel. What the host decides, it
/// decides in `make`: the function runs in every step and allocates nothing.
template <class Args, class Make>
Kernel<Args> cuda_kernel(Make make, std::function<std::int64_t(const Args&)> workspace_bytes = nullptr) {
  return {
      .prepare = [make](const Args& args) -> std::unique_ptr<KernelCall> { return std::make_unique<CudaKernelCall>(make(args)); },
      .workspace_bytes = std::move(workspace_bytes)};
}

}  // namespace minim::cuda
