#pragma once

#include "minim/runtime/cuda.h"
#include "runtime/kernel_case.h"

namespace minim::testing {

/// The kernels of the CUDA module, on the first device.
inline kernel_case::KernelSet cuda_set() {
  return {.name = "cuda", .set = "cuda", .make_backend = [] { return make_cuda_backend({}); }};
}

}  // namespace minim::testing

/// Registers the tests of `suite` for the CUDA module.
#define MINIM_FOR_CUDA(suite) \
  INSTANTIATE_TEST_SUITE_P(Sets, suite, ::testing::Values(minim::testing::cuda_set()), minim::kernel_case::set_name)
