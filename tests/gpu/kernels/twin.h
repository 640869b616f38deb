#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "minim/runtime/backend.h"

namespace minim::gpu {

enum class Side : std::uint8_t { host, device };

/// A tensor of the host and its twin on a device. Both have the same bytes before and behind them, so that a kernel that writes
/// where it should not is seen. Copies refer to the same memory.
class Twin {
 public:
  /// The tensor begins `offset` elements behind an address of the widest alignment. It and its margins are full of 0xFF bytes.
  Twin(Backend& host, Backend& device, DType dtype, Shape shape, std::int64_t offset)
      : backend_(&device), shape_(shape), begin_(offset), end_(offset + shape.elements()) {
    const Shape with_margins{end_ + kMargin};
    host_ = host.allocate_tensor(dtype, with_margins, MemoryKind::workspace);
    device_ = device.allocate_tensor(dtype, with_margins, MemoryKind::workspace);
    std::memset(host_.view().raw(), 0xFF, static_cast<std::size_t>(host_.view().size_bytes()));
    upload();
  }

  TensorView operator[](Side side) const { return inner(side == Side::host ? host_ : device_); }
  /// The host's tensor.
  TensorView host() const { return inner(host_); }

  /// The device's tensor becomes what the host's is.
  void upload() const { backend_->copy(device_, host_); }

  /// A copy on the host of the device's tensor, whose margins are expected to be untouched.
  Tensor download(Backend& host) const {
    const Tensor whole = host.allocate_tensor(device_.dtype(), device_.shape(), MemoryKind::workspace);
    backend_->copy(whole, device_);
    const TensorView view = whole;
    expect_untouched(view.slice(0, begin_));
    expect_untouched(view.slice(end_, view.elements()));
    const Tensor found = host.allocate_tensor(device_.dtype(), shape_, MemoryKind::workspace);
    host.copy(found, inner(whole));
    return found;
  }

 private:
  static constexpr std::int64_t kMargin = 64;

  TensorView inner(const Tensor& whole) const { return whole.view().slice(begin_, end_).reshaped(shape_); }
  static void expect_untouched(const TensorView& margin) {
    const auto* bytes = static_cast<const unsigned char*>(margin.raw());
    for (std::int64_t i = 0; i < margin.size_bytes(); ++i) ASSERT_EQ(bytes[i], 0xFF) << "outside of the tensor";
  }

  Backend* backend_;
  Shape shape_;
  std::int64_t begin_, end_;
  Tensor host_, device_;
};

}  // namespace minim::gpu
