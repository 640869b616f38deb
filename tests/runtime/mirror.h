#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <vector>

#include "minim/model/kernel_arguments.h"
#include "minim/runtime/backend.h"

namespace minim {

/// A device's copies of tensors of the host: one for each address, however often it occurs, between margins that no kernel may
/// write to.
class Mirror {
 public:
  /// Each copy begins `offset` elements behind an address of the widest alignment.
  Mirror(Backend& backend, std::int64_t offset) : backend_(backend), offset_(offset) {}

  /// The copy of `view`, made when it is first asked for.
  TensorView operator()(const ConstTensorView& view) {
    const auto [found, is_new] = copies_.try_emplace(view.raw());
    if (is_new || view.elements() == 0) found->second = make(view);
    return inner(found->second).reshaped(view.shape());
  }
  /// Copies back what kernels have written.
  void update_host(const TensorView& view) {
    const Tensor& copy = copies_.at(view.raw());
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(copy.view().size_bytes()));
    backend_.copy({bytes.data(), copy.dtype(), copy.shape()}, copy);
    const auto begin = offset_ * size_bytes(copy.dtype());
    const auto end = begin + view.size_bytes();
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const auto at = static_cast<std::int64_t>(i);
      if (at < begin || at >= end) {
        ASSERT_EQ(bytes[i], kUntouched) << "byte " << at - begin << " outside of the tensor";
      }
    }
    if (view.size_bytes() > 0) std::memcpy(view.raw(), bytes.data() + begin, static_cast<std::size_t>(view.size_bytes()));
  }

 private:
  static constexpr std::uint8_t kUntouched = 0xA5;
  static constexpr std::int64_t kMargin = 64;

  Tensor make(const ConstTensorView& view) const {
    Tensor copy = backend_.allocate_tensor(view.dtype(), Shape{offset_ + view.elements() + kMargin}, MemoryKind::workspace);
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(copy.view().size_bytes()), kUntouched);
    if (view.size_bytes() > 0) {
      std::memcpy(bytes.data() + offset_ * size_bytes(view.dtype()), view.raw(), static_cast<std::size_t>(view.size_bytes()));
    }
    backend_.copy(copy, {bytes.data(), copy.dtype(), copy.shape()});
    return copy;
  }
  TensorView inner(const Tensor& copy) const { return copy.view().slice(offset_, copy.elements() - kMargin); }

  Backend& backend_;
  std::int64_t offset_;
  std::map<const void*, Tensor> copies_;
};

/// Prepares the kernel with a workspace of the size it asks for, where it has one, runs it and waits. All tensors are the host's:
/// where the kernel cannot touch them it gets copies, which begin `offset` elements behind an aligned address.
template <class Args>
void run_mirrored(Backend& backend, Stream& stream, Args args, std::int64_t offset = 0) {
  Mirror mirror(backend, offset);
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
