#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "minim/runtime/backend.h"

namespace minim::test {

/// A kind of backend to run the conformance suite on.
struct BackendKind {
  std::string name;
  std::function<std::unique_ptr<Backend>()> make;

  friend std::ostream& operator<<(std::ostream& out, const BackendKind& kind) { return out << kind.name; }
};

/// What code above a backend relies on, whatever the device. The host touches no memory of `allocate` here.
class BackendConformance : public ::testing::TestWithParam<BackendKind> {
 protected:
  Tensor device_tensor(std::vector<float> values) {
    Tensor tensor = backend_->allocate_tensor(DType::fp32, {static_cast<std::int64_t>(values.size())}, MemoryKind::input);
    backend_->copy(tensor, view_of(values));
    return tensor;
  }
  Tensor host_tensor(const std::vector<float>& values) {
    Tensor tensor = backend_->allocate_host_tensor(DType::fp32, {static_cast<std::int64_t>(values.size())}, MemoryKind::staging);
    std::copy(values.begin(), values.end(), tensor.span<float>().begin());
    return tensor;
  }
  std::vector<float> values_of(const ConstTensorView& tensor) {
    std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
    backend_->copy(view_of(values), tensor);
    return values;
  }
  static TensorView view_of(std::vector<float>& values) {
    return {values.data(), DType::fp32, Shape{static_cast<std::int64_t>(values.size())}};
  }

  std::unique_ptr<Backend> backend_ = GetParam().make();
  std::unique_ptr<Stream> stream_ = backend_->make_stream("test");
};

}  // namespace minim::test
