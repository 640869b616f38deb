#include "gpu/kernels/cuda_set.h"
#include "runtime/linear_suite.h"

namespace minim::linear_suite {
namespace {

MINIM_FOR_CUDA(KernelLinear);

using CudaLinear = KernelLinear;

TEST_P(CudaLinear, TwoRunsGiveEqualBits) {
  // Sums so long that they are worth splitting.
  for (const DType dtype : kFloatingTypes) expect_equal_runs({64, 25088, 100}, dtype, std::string(name(dtype)));
}

TEST_P(CudaLinear, LongSumsAreKeptInFp32) {
  expect_forward({8, 25088, 40}, DType::fp16, Activation::none, "a classifier's first layer");
  expect_weight_gradients({4096, 24, 40}, DType::fp16, true, "many samples");
}

MINIM_FOR_CUDA(CudaLinear);

}  // namespace
}  // namespace minim::linear_suite
