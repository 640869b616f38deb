#pragma once

#include <cuda_runtime_api.h>

#include <type_traits>

#ifndef MINIM_ON_KERNEL
#define MINIM_ON_KERNEL(kernel)
#endif

namespace programs {

struct Shape {
  unsigned blocks, threads;
  std::size_t shared_bytes = 0;
};

template <class... Parameters>
cudaError_t launch_as(void (*kernel)(Parameters...), cudaStream_t stream, Shape shape,
                      std::type_identity_t<Parameters>... arguments) {
  void* addresses[] = {static_cast<void*>(&arguments)..., nullptr};
  return cudaLaunchKernel(reinterpret_cast<const void*>(kernel), dim3(shape.blocks), dim3(shape.threads), addresses,
                          shape.shared_bytes, stream);
}

template <auto kKernel, class... Arguments>
cudaError_t launch(cudaStream_t stream, Shape shape, Arguments... arguments) {
  MINIM_ON_KERNEL(kKernel);
  return launch_as(kKernel, stream, shape, arguments...);
}

}  // namespace programs
