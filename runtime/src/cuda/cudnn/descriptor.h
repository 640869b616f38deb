#pragma once

#include <cudnn.h>

#include <memory>
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <vector>

/// cuDNN's graph API.
namespace minim::cuda::cudnn {

/// Throws DeviceError with cuDNN's own words unless `status` is CUDNN_STATUS_SUCCESS. `call` names the function that returned it.
void check(cudnnStatus_t status, const char* call, std::source_location where = std::source_location::current());

/// What cuDNN calls the type of an attribute.
template <class T>
inline constexpr cudnnBackendAttributeType_t kAttributeType = CUDNN_TYPE_INT64;
template <>
inline constexpr auto kAttributeType<bool> = CUDNN_TYPE_BOOLEAN;
template <>
inline constexpr auto kAttributeType<char> = CUDNN_TYPE_CHAR;
template <>
inline constexpr auto kAttributeType<float> = CUDNN_TYPE_FLOAT;
template <>
inline constexpr auto kAttributeType<std::int32_t> = CUDNN_TYPE_INT32;
template <>
inline constexpr auto kAttributeType<void*> = CUDNN_TYPE_VOID_PTR;
template <>
inline constexpr auto kAttributeType<cudnnDataType_t> = CUDNN_TYPE_DATA_TYPE;
template <>
inline constexpr auto kAttributeType<cudnnConvolutionMode_t> = CUDNN_TYPE_CONVOLUTION_MODE;
template <>
inline constexpr auto kAttributeType<cudnnPointwiseMode_t> = CUDNN_TYPE_POINTWISE_MODE;
template <>
inline constexpr auto kAttributeType<cudnnBackendHeurMode_t> = CUDNN_TYPE_HEUR_MODE;
template <>
inline constexpr auto kAttributeType<cudnnBackendKnobType_t> = CUDNN_TYPE_KNOB_TYPE;
template <>
inline constexpr auto kAttributeType<cudnnBackendNumericalNote_t> = CUDNN_TYPE_NUMERICAL_NOTE;

/// A cheap handle on a descriptor of the graph API and those that it refers to. Setters return the descriptor itself, for chains;
/// all members throw DeviceError with what cuDNN says.
class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type);

  template <class T>
  Descriptor& set(cudnnBackendAttributeName_t name, const T& value) {
    return set(name, std::span<const T>(&value, 1));
  }
  template <class T>
  Descriptor& set(cudnnBackendAttributeName_t name, std::span<const T> values) {
    return set_raw(name, kAttributeType<T>, static_cast<std::int64_t>(values.size()), values.data());
  }
  Descriptor& set(cudnnBackendAttributeName_t name, const Descriptor& other) {
    return set(name, std::span<const Descriptor>(&other, 1));
  }
  Descriptor& set(cudnnBackendAttributeName_t name, std::span<const Descriptor> others);
  /// Nothing can be set afterwards, and other descriptors may refer to this one.
  Descriptor& finalize();

  template <class T>
  T get(cudnnBackendAttributeName_t name) const {
    T value{};
    get_raw(name, kAttributeType<T>, 1, &value);
    return value;
  }
  /// At most `most` values.
  template <class T>
  std::vector<T> get_list(cudnnBackendAttributeName_t name, std::int64_t most) const {
    std::vector<T> values(static_cast<std::size_t>(most));
    values.resize(static_cast<std::size_t>(get_raw(name, kAttributeType<T>, most, values.data())));
    return values;
  }
  /// At most `most` descriptors, which are of that type.
  std::vector<Descriptor> get_list(cudnnBackendAttributeName_t name, cudnnBackendDescriptorType_t type, std::int64_t most) const;

  cudnnBackendDescriptor_t raw() const { return descriptor_.get(); }

 private:
  Descriptor& set_raw(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t count, const void* values);
  std::int64_t get_raw(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t most, void* values) const;

  std::shared_ptr<void> descriptor_;
  std::vector<std::shared_ptr<void>> referred_;
};

}  // namespace minim::cuda::cudnn
