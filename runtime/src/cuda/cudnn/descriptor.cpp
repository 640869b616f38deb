#include "cuda/cudnn/descriptor.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "minim/runtime/error.h"

namespace minim::cuda::cudnn {

void check(cudnnStatus_t status, const char* call, std::source_location where) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  std::array<char, 1024> message{};
  cudnnGetLastErrorString(message.data(), message.size());
  const std::string_view file = where.file_name();
  throw DeviceError(fmt::format("{} ({}:{}) failed with cuDNN's {}: {}", call, file.substr(file.rfind('/') + 1), where.line(),
                                cudnnGetErrorString(status), message.data()));
}

Descriptor::Descriptor(cudnnBackendDescriptorType_t type) {
  cudnnBackendDescriptor_t descriptor = nullptr;
  check(cudnnBackendCreateDescriptor(type, &descriptor), "cudnnBackendCreateDescriptor");
  descriptor_ = std::shared_ptr<void>(descriptor, [](void* owned) { cudnnBackendDestroyDescriptor(owned); });
}

Descriptor& Descriptor::set(cudnnBackendAttributeName_t name, std::span<const Descriptor> others) {
  std::vector<cudnnBackendDescriptor_t> raw;
  for (const Descriptor& other : others) {
    raw.push_back(other.raw());
    referred_.push_back(other.descriptor_);
    referred_.insert(referred_.end(), other.referred_.begin(), other.referred_.end());
  }
  return set_raw(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, static_cast<std::int64_t>(raw.size()), raw.data());
}

Descriptor& Descriptor::finalize() {
  check(cudnnBackendFinalize(raw()), "cudnnBackendFinalize");
  return *this;
}

std::vector<Descriptor> Descriptor::get_list(cudnnBackendAttributeName_t name, cudnnBackendDescriptorType_t type,
                                             std::int64_t most) const {
  std::vector<Descriptor> found;
  std::vector<cudnnBackendDescriptor_t> raw;
  for (std::int64_t i = 0; i < most; ++i) raw.push_back(found.emplace_back(type).raw());
  found.erase(found.begin() + get_raw(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, most, raw.data()), found.end());
  return found;
}

Descriptor& Descriptor::set_raw(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t count,
                                const void* values) {
  check(cudnnBackendSetAttribute(raw(), name, type, count, values), "cudnnBackendSetAttribute");
  return *this;
}

std::int64_t Descriptor::get_raw(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t most,
                                 void* values) const {
  std::int64_t count = 0;
  check(cudnnBackendGetAttribute(raw(), name, type, most, &count, values), "cudnnBackendGetAttribute");
  return count;
}

}  // namespace minim::cuda::cudnn
