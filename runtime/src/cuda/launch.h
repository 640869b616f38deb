#pragma once

#include <cstdint>
#include <string_view>
#include <type_traits>

#include "minim/runtime/stream.h"

// Told of every kernel that the program launches. The emulation of kernels on the CPU defines it to learn which there are.
#ifndef MINIM_ON_KERNEL
#define MINIM_ON_KERNEL(kernel)
#endif

namespace minim::cuda {

/// Where a kernel runs: blocks, threads of a block, bytes of dynamic shared memory. Without blocks nothing is launched.
struct LaunchShape {
  std::int64_t blocks = 0;
  int threads = 0;
  std::int64_t shared_bytes = 0;
};

/// Threads of a block where nothing speaks for another number.
inline constexpr int kThreads = 256;
/// Blocks of a grid at most, where each thread strides over the grid: some waves on the largest devices.
inline constexpr std::int64_t kMaxBlocks = 4096;

/// A thread for each of `items`, at most kMaxBlocks blocks: for kernels that stride over the grid.
constexpr LaunchShape shape_for(std::int64_t items, int threads = kThreads) {
  const std::int64_t blocks = (items + threads - 1) / threads;
  return {.blocks = blocks < kMaxBlocks ? blocks : kMaxBlocks, .threads = threads};
}

namespace detail {

/// `launch_of` is the text of a function's signature that holds the kernel's name behind "kKernel = ".
void launch_kernel(const void* kernel, std::string_view launch_of, Stream& stream, const LaunchShape& shape, void** arguments);

template <class... Parameters>
void launch_as(void (*kernel)(Parameters...), std::string_view launch_of, Stream& stream, const LaunchShape& shape,
               std::type_identity_t<Parameters>... arguments) {
  void* addresses[] = {static_cast<void*>(&arguments)..., nullptr};
  launch_kernel(reinterpret_cast<const void*>(kernel), launch_of, stream, shape, addresses);
}

}  // namespace detail

/// Enqueues `kKernel(args...)`; arguments are converted to the kernel's parameter types. Throws DeviceError that names the
/// kernel.
template <auto kKernel, class... Args>
void launch(Stream& stream, LaunchShape shape, Args... args) {
  MINIM_ON_KERNEL(kKernel);
  detail::launch_as(kKernel, __PRETTY_FUNCTION__, stream, shape, args...);
}

}  // namespace minim::cuda
