#pragma once

#include <vector>

#include "minim/runtime/backend.h"

namespace minim::cuda {

/// Values in memory of the device that a prepared call owns. A cheap handle.
template <class T>
class DeviceArray {
 public:
  DeviceArray(Backend& backend, std::int64_t count)
      : bytes_(
            backend.allocate_tensor(DType::uint8, Shape{count * static_cast<std::int64_t>(sizeof(T))}, MemoryKind::workspace)) {}
  /// Copies the values there; waits until that is done.
  DeviceArray(Backend& backend, const std::vector<T>& values) : DeviceArray(backend, static_cast<std::int64_t>(values.size())) {
    if (!values.empty()) backend.copy(bytes_, {values.data(), DType::uint8, bytes_.shape()});
  }

  T* pointer() const { return static_cast<T*>(bytes_.view().raw()); }

 private:
  Tensor bytes_;
};

}  // namespace minim::cuda
