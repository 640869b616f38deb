#include "minim/runtime/backend.h"

#include <cxxabi.h>
#include <fmt/format.h>

#include <cstdlib>

namespace minim {

Tensor Backend::allocate_tensor(DType dtype, Shape shape, MemoryKind kind) {
  auto buffer = std::make_shared<Buffer>(allocate(shape.elements() * size_bytes(dtype), kind));
  return {std::move(buffer), 0, dtype, shape};
}

Tensor Backend::allocate_host_tensor(DType dtype, Shape shape, MemoryKind kind) {
  auto buffer = std::make_shared<Buffer>(allocate_host(shape.elements() * size_bytes(dtype), kind));
  return {std::move(buffer), 0, dtype, shape};
}

namespace detail {

void throw_missing_kernel(std::string_view backend, const char* args) {
  const std::unique_ptr<char, decltype(&std::free)> readable(abi::__cxa_demangle(args, nullptr, nullptr, nullptr), &std::free);
  throw InvalidArgument(
      fmt::format("backend \"{}\" has no kernel for {}: add one with add_kernel", backend, readable ? readable.get() : args));
}

}  // namespace detail
}  // namespace minim
