#pragma once

#include <map>

#include "minim/model/kernel_arguments.h"
#include "minim/runtime/backend.h"

namespace minim {

/// A device's copies of tensors of the host: one for each address, however often it occurs.
class Mirror {
 public:
  explicit Mirror(Backend& backend) : backend_(backend) {}

  /// The copy of `view`, made when it is first asked for.
  TensorView operator()(const ConstTensorView& view) {
    if (view.elements() == 0) return {nullptr, view.dtype(), view.shape()};
    auto [found, is_new] = copies_.try_emplace(view.raw());
    if (is_new) {
      found->second = backend_.allocate_tensor(view.dtype(), view.shape(), MemoryKind::workspace);
      backend_.copy(found->second, view);
    }
    return {found->second.view().raw(), view.dtype(), view.shape()};
  }
  /// Copies back what kernels have written.
  void update_host(const TensorView& view) {
    if (view.elements() > 0) backend_.copy(view, copies_.at(view.raw()));
  }

 private:
  Backend& backend_;
  std::map<const void*, Tensor> copies_;
};

/// Prepares the kernel with a workspace of the size it asks for, where it has one, runs it and waits. All tensors are the host's:
/// where the kernel cannot touch them it gets copies.
template <class Args>
void run_mirrored(Backend& backend, Stream& stream, Args args) {
  Mirror mirror(backend);
  std::vector<TensorView> written;
  if (!backend.host_accessible()) {
    for_each_tensor(args, [&]<class View>(View& view) {
      if (!view.present()) return;
      if constexpr (std::is_same_v<View, TensorView>) written.push_back(view);
      view = mirror(view);
    });
  }
  const Tensor workspace = backend.allocate_tensor(DType::uint8, Shape{backend.workspace_bytes(args)}, MemoryKind::workspace);
  if constexpr (requires { args.workspace; }) args.workspace = workspace;
  backend.run(stream, args);
  for (const TensorView& view : written) mirror.update_host(view);
}

}  // namespace minim
