#pragma once

#include <cuda_runtime_api.h>

#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#include "double.h"
#include "minim/model/kernel_arguments.h"
#include "minim/runtime/backend.h"
#include "sanitizers.h"

/// What the doubles of libraries that compute do it with: kernels of minim's CPU backend.
namespace doubles {

using minim::ConstTensorView;
using minim::DType;
using minim::MemoryKind;
using minim::Shape;
using minim::Tensor;
using minim::TensorView;

/// The CPU backend, of one thread.
minim::Backend& cpu();
/// A stream that runs what it is given at once, in the calling thread.
minim::Stream& inline_stream();

/// Refuses a tensor that is not in memory of the device. `call` is what messages name.
void check_on_device(const char* call, const ConstTensorView& tensor);

/// Enqueues work that may be captured. `name` must stay alive.
void enqueue(cudaStream_t stream, const char* name, std::function<void()> work);

/// Runs the kernel on memory of the device: in the order of a stream. The kernel computes on copies, since sanitizers see what
/// memcpy reads and writes, but not what the kernel does.
template <class Args>
void run_kernel(Args args) {
  std::vector<Tensor> copies;
  std::vector<std::pair<TensorView, TensorView>> results;  // what is copied back, and from where
  minim::for_each_tensor(args, [&]<class View>(View& view) {
    if (!view.present()) return;
    const TensorView at_device(double_alias(view.raw()), view.dtype(), view.shape());
    const TensorView copy = copies.emplace_back(cpu().allocate_tensor(view.dtype(), view.shape(), MemoryKind::workspace));
    if (view.size_bytes() > 0) std::memcpy(copy.raw(), at_device.raw(), static_cast<std::size_t>(view.size_bytes()));
    if constexpr (std::is_same_v<View, TensorView>) results.emplace_back(at_device, copy);
    view = copy;
  });
  {
    const Hidden hidden;
    const Tensor workspace = cpu().allocate_tensor(DType::uint8, Shape{cpu().workspace_bytes(args)}, MemoryKind::workspace);
    args.workspace = workspace;
    cpu().run(inline_stream(), args);
  }
  for (const auto& [at_device, copy] : results) {
    if (copy.size_bytes() > 0) std::memcpy(at_device.raw(), copy.raw(), static_cast<std::size_t>(copy.size_bytes()));
  }
}

/// Overwrites what the library may use as scratch, so that whoever keeps something there is found out.
void spoil(void* workspace, std::size_t size_bytes);

}  // namespace doubles
