#pragma once

#include <string>
#include <type_traits>
#include <vector>

namespace minim::testing {

/// Adds the bytes of a value to those that two runs are compared by.
template <class T>
void append(std::string& bits, const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  bits.append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <class T>
void append(std::string& bits, const std::vector<T>& values) {
  static_assert(std::is_trivially_copyable_v<T>);
  bits.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

}  // namespace minim::testing
