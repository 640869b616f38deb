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

/// A workspace of exactly the bytes that a kernel asked for, before a margin that it may not write to. All of it is NaN, so that
/// scratch which is read before it is written shows in the results.
class WatchedWorkspace {
 public:
  WatchedWorkspace(Backend& backend, std::int64_t size_bytes)
      : backend_(backend), size_bytes_(size_bytes), bytes_(static_cast<std::size_t>(size_bytes + kMarginBytes), kUntouched) {
    memory_ = backend.allocate_tensor(DType::uint8, Shape{size_bytes + kMarginBytes}, MemoryKind::workspace);
    backend.copy(memory_, host());
  }
  TensorView view() const { return memory_.view().slice(0, size_bytes_); }
  void expect_margin_untouched() {
    const std::int64_t end = size_bytes_ + kMarginBytes;
    backend_.copy(host().slice(size_bytes_, end), memory_.view().slice(size_bytes_, end));
    for (std::int64_t i = size_bytes_; i < end; ++i) {
      ASSERT_EQ(bytes_[static_cast<std::size_t>(i)], kUntouched) << "byte " << i << " of a workspace of " << size_bytes_;
    }
  }

 private:
  static constexpr std::int64_t kMarginBytes = 4096;
  static constexpr std::uint8_t kUntouched = 0xFF;

  TensorView host() { return {bytes_.data(), DType::uint8, memory_.shape()}; }

  Backend& backend_;
  std::int64_t size_bytes_;
  std::vector<std::uint8_t> bytes_;
  Tensor memory_;
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
  WatchedWorkspace workspace(backend, backend.workspace_bytes(args));
  if constexpr (requires { args.workspace; }) args.workspace = workspace.view();
  backend.run(stream, args);
  workspace.expect_margin_untouched();
  for (const TensorView& view : written) mirror.update_host(view);
}

}  // namespace minim
