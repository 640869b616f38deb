#pragma once

#include <dlfcn.h>

#include <cstddef>
#include <cstdint>
#include <tuple>
#include <type_traits>
#include <utility>

#include "doubles/double.h"
#include "emulation/grid.h"

namespace minim::emulation {

template <auto kKernel>
struct Registered;

/// A kernel that is known to the double of libcudart from the moment on at which its library is loaded.
template <class... Parameters, void (*kKernel)(Parameters...)>
struct Registered<kKernel> {
  using Values = std::tuple<std::remove_cv_t<Parameters>...>;

  template <std::size_t... kIndices>
  static Values* copy(void** arguments, std::index_sequence<kIndices...>) {
    return new Values(*static_cast<std::remove_cv_t<Parameters>*>(arguments[kIndices])...);
  }
  /// A number and the padding behind it, which holds what was there before, can look like an address.
  template <class T>
  static void replace_addresses(T& value, double_replace replace, void* context) {
    if constexpr (alignof(T) >= alignof(void*)) {
      __builtin_clear_padding(&value);
      auto* begin = reinterpret_cast<char*>(&value);
      for (std::size_t offset = 0; offset < sizeof(T); offset += sizeof(void*)) replace(begin + offset, context);
    }
  }
  static void* pack(void** arguments, double_replace replace, void* context) {
    Values* packed = copy(arguments, std::index_sequence_for<Parameters...>());
    std::apply([=](auto&... values) { (replace_addresses(values, replace, context), ...); }, *packed);
    return packed;
  }
  static void drop(void* packed) { delete static_cast<Values*>(packed); }

  static void run_thread(void* packed) { std::apply(kKernel, *static_cast<const Values*>(packed)); }
  static void* shared() {
    static thread_local char mark;
    return &mark;
  }
  static void invoke(void* packed, double_dim grid, double_dim block, std::size_t /*shared_bytes*/, std::uint64_t seed) {
    run({grid, block, seed, run_thread, packed, shared});
  }

  static const char* add() {
    const auto* function = reinterpret_cast<const void*>(kKernel);
    Dl_info symbol = {};
    if (dladdr(function, &symbol) == 0 || symbol.dli_saddr != function) {
      double_refuse("a kernel has no exported symbol: its program must be linked with -rdynamic, or kernels be in a library");
    }
    const double_kernel kernel = {symbol.dli_sname, pack, drop, invoke};
    double_register_kernel(&kernel, function);
    return symbol.dli_sname;
  }
  static inline const char* const name = add();
};

/// Being called somewhere, at whatever time, is enough.
template <auto kKernel>
void register_on_load() {
  static_cast<void>(Registered<kKernel>::name);
}

}  // namespace minim::emulation
