#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "cuda/cuda_stream.h"
#include "minim/runtime/backend.h"

namespace minim::cuda {

/// A call that was bound to its arguments when it was prepared.
class CudaKernelCall final : public KernelCall {
 public:
  explicit CudaKernelCall(std::function<void(Stream&)> enqueue) : number_(next_call_number()), enqueue_(std::move(enqueue)) {}
  void launch(Stream& stream) const override { give(stream, *this); }

  /// Puts the kernel into the stream now.
  void enqueue(Stream& stream) const { enqueue_(stream); }
  /// No other call has it, had it or will have it.
  std::uint64_t number() const { return number_; }

 private:
  std::uint64_t number_;
  std::function<void(Stream&)> enqueue_;
};

/// Wraps `make(args)`, which returns the `std::function<void(Stream&)>` that enqueues the kernel. What the host decides, it
/// decides in `make`: the function allocates nothing and does the same each time, since what it enqueues may be captured and
/// repeated without it.
template <class Args, class Make>
Kernel<Args> cuda_kernel(Make make, std::function<std::int64_t(const Args&)> workspace_bytes = nullptr) {
  return {
      .prepare = [make](const Args& args) -> std::unique_ptr<KernelCall> { return std::make_unique<CudaKernelCall>(make(args)); },
      .workspace_bytes = std::move(workspace_bytes)};
}

}  // namespace minim::cuda
