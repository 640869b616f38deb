#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <typeindex>
#include <unordered_map>
#include <vector>

#include "minim/runtime/error.h"
#include "minim/runtime/memory.h"
#include "minim/runtime/stream.h"
#include "minim/runtime/tensor.h"

namespace minim {

/// A kernel bound to its arguments, to be launched any number of times.
class KernelCall {
 public:
  virtual ~KernelCall() = default;
  /// Enqueues the kernel. The call must stay alive until the stream has run it. Allocates nothing.
  virtual void launch(Stream& stream) const = 0;
};

/// Scratch that a kernel wants.
struct WorkspaceSize {
  std::int64_t size_bytes = 0;
  bool is_known = true;  ///< false: only the device can tell, and says no more than this

  WorkspaceSize(std::int64_t bytes, bool known = true) : size_bytes(bytes), is_known(known) {}
};

/// How a backend runs kernels whose arguments are an `Args`.
template <class Args>
struct Kernel {
  /// Makes the call. May be slow (choosing algorithms, creating primitives); views in `args` already point to memory.
  std::function<std::unique_ptr<KernelCall>(const Args& args)> prepare;
  /// Scratch that `args.workspace` must offer. Looks at shapes and types only. Null: none.
  std::function<WorkspaceSize(const Args& args)> workspace_bytes;
};

/// Wraps a plain function that computes on the CPU, `run(args)`, as a kernel.
template <class Args, class Run>
Kernel<Args> host_kernel(Run run, std::function<std::int64_t(const Args&)> workspace_bytes = nullptr);

/// Wraps a function `make(args)` that returns the `std::function<void()>` to run on the CPU at each launch.
template <class Args, class Make>
Kernel<Args> prepared_host_kernel(Make make, std::function<std::int64_t(const Args&)> workspace_bytes = nullptr);

/// A device, its memory and a table from argument struct to kernel. Not thread-safe while kernels are being added.
class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string_view name() const = 0;
  /// Uninitialised memory, aligned to `kAlignmentBytes`, booked in `memory()`. Throws DeviceError when there is none.
  virtual Buffer allocate(std::int64_t size_bytes, MemoryKind kind) = 0;
  virtual std::unique_ptr<Stream> make_stream(std::string name) = 0;

  /// Whether the host may touch memory of `allocate`. Where it may not, only kernels and copies do.
  virtual bool host_accessible() const { return true; }
  /// Whether the host may not touch what is at `address`, because it is memory of `allocate` of such a backend.
  virtual bool on_device(const void* /*address*/) const { return false; }
  /// Uninitialised memory of the host that streams copy from and to without the host waiting; else as `allocate`.
  virtual Buffer allocate_host(std::int64_t size_bytes, MemoryKind kind) { return allocate(size_bytes, kind); }
  /// Copies between tensors of equal type and count in any memory of device or host and returns when that is done. For set-up,
  /// checkpoints and tests: no stream may be at work on either. Throws InvalidArgument for tensors that differ.
  virtual void copy(TensorView to, ConstTensorView from) = 0;

  Tensor allocate_tensor(DType dtype, Shape shape, MemoryKind kind);
  Tensor allocate_host_tensor(DType dtype, Shape shape, MemoryKind kind);
  const std::shared_ptr<MemoryAccount>& memory() const { return memory_; }

  /// Adds or replaces the kernel for `Args`. `set` names where it comes from: "cpu", "reference", ...
  template <class Args>
  void add_kernel(Kernel<Args> kernel, std::string_view set);

  template <class Args>
  bool has_kernel() const {
    return kernels_.contains(typeid(Args));
  }
  /// The set that the kernel for `Args` comes from.
  template <class Args>
  std::string_view kernel_set() const {
    return entry<Args>().set;
  }

  template <class Args>
  WorkspaceSize workspace(const Args& args) const {
    const auto& kernel = entry<Args>().kernel;
    return kernel.workspace_bytes ? kernel.workspace_bytes(args) : 0;
  }
  template <class Args>
  std::int64_t workspace_bytes(const Args& args) const {
    return workspace(args).size_bytes;
  }
  template <class Args>
  std::unique_ptr<KernelCall> prepare(const Args& args) const {
    return entry<Args>().kernel.prepare(args);
  }
  /// Prepares, enqueues and waits. For tests and rare calls; a step launches prepared calls.
  template <class Args>
  void run(Stream& stream, const Args& args) const {
    const auto call = prepare(args);
    call->launch(stream);
    stream.synchronize();
  }

 protected:
  Backend() : memory_(std::make_shared<MemoryAccount>()) {}

 private:
  struct EntryBase {
    virtual ~EntryBase() = default;
  };
  template <class Args>
  struct Entry : EntryBase {
    Kernel<Args> kernel;
    std::string set;
  };
  template <class Args>
  const Entry<Args>& entry() const;

  std::shared_ptr<MemoryAccount> memory_;
  std::unordered_map<std::type_index, std::unique_ptr<EntryBase>> kernels_;
};

/// The CPU backend: oneDNN and vectorised loops over a fallback of reference kernels. `threads` per stream.
std::unique_ptr<Backend> make_cpu_backend(int threads);
/// Plain loops with FP64 sums, one thread: the oracle of the tests.
std::unique_ptr<Backend> make_reference_backend();

// Implementation.

namespace detail {

class HostKernelCall final : public KernelCall {
 public:
  explicit HostKernelCall(std::function<void()> work) : work_(std::move(work)) {}
  void launch(Stream& stream) const override { stream.enqueue_borrowed(&work_); }

 private:
  std::function<void()> work_;
};

[[noreturn]] void throw_missing_kernel(std::string_view backend, const char* args);

}  // namespace detail

template <class Args, class Run>
Kernel<Args> host_kernel(Run run, std::function<std::int64_t(const Args&)> workspace_bytes) {
  return {.prepare =
              [run](const Args& args) -> std::unique_ptr<KernelCall> {
            return std::make_unique<detail::HostKernelCall>([run, args] { run(args); });
          },
          .workspace_bytes = std::move(workspace_bytes)};
}

template <class Args, class Make>
Kernel<Args> prepared_host_kernel(Make make, std::function<std::int64_t(const Args&)> workspace_bytes) {
  return {.prepare =
              [make](const Args& args) -> std::unique_ptr<KernelCall> {
            return std::make_unique<detail::HostKernelCall>(make(args));
          },
          .workspace_bytes = std::move(workspace_bytes)};
}

template <class Args>
void Backend::add_kernel(Kernel<Args> kernel, std::string_view set) {
  auto entry = std::make_unique<Entry<Args>>();
  entry->kernel = std::move(kernel);
  entry->set = set;
  kernels_[typeid(Args)] = std::move(entry);
}

template <class Args>
const Backend::Entry<Args>& Backend::entry() const {
  const auto found = kernels_.find(typeid(Args));
  if (found == kernels_.end()) detail::throw_missing_kernel(name(), typeid(Args).name());
  return static_cast<const Entry<Args>&>(*found->second);
}

}  // namespace minim
