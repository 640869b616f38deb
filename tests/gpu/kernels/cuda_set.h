#pragma once

#include "minim/runtime/cuda.h"
#include "runtime/kernel_case.h"

namespace minim::gpu {

/// The kernels of the CUDA module on the first device, with tensors from aligned addresses and from others.
inline std::vector<kernel_case::KernelSet> cuda_sets() {
  const auto make = [] { return make_cuda_backend({}); };
  return {{.name = "aligned", .set = "cuda", .make_backend = make},
          {.name = "not_aligned", .set = "cuda", .make_backend = make, .offset = 1}};
}

}  // namespace minim::gpu

/// Registers the tests of `suite` for the CUDA module.
#define MINIM_FOR_CUDA(suite) \
  INSTANTIATE_TEST_SUITE_P(Cuda, suite, testing::ValuesIn(minim::gpu::cuda_sets()), minim::kernel_case::set_name)
