#include "gpu/kernels/cuda_set.h"
#include "runtime/local_response_norm_suite.h"

namespace minim::local_response_norm_suite {
namespace {

MINIM_FOR_CUDA(KernelLocalResponseNorm);

class CudaLocalResponseNorm : public KernelLocalResponseNorm {};

TEST_P(CudaLocalResponseNorm, IsWithinItsBoundWhereBlocksTakeSeveralTiles) {
  // 4096 blocks take 1024 elements each, and some of them 1024 more.
  const Shape shape{2, 8, 4100, 64};
  const ResponseWindow window = kWindows[1];
  const Tensor x = make_x(DType::fp16, shape, /*special=*/false), dy = make_filled(DType::fp16, shape, 2);
  const Tensor y = make(DType::fp16, shape), dx = make(DType::fp16, shape), wanted = make(DType::fp32, shape);
  run_fast(LocalResponseNormForward{.x = x, .y = y, .window = window});
  run_oracle(LocalResponseNormForward{.x = x, .y = wanted, .window = window});
  kernel_case::expect_rounded_once(
      y, wanted, [&](auto) { return Errors(window).forward; }, "y");
  run_fast(LocalResponseNormBackward{.x = x, .dy = dy, .dx = dx, .window = window});
  run_oracle(LocalResponseNormBackward{.x = x, .dy = dy, .dx = wanted, .window = window});
  kernel_case::expect_rounded_once(
      dx, wanted, [&](auto) { return Errors(window).backward; }, "dx");
}
INSTANTIATE_TEST_SUITE_P(Cuda, CudaLocalResponseNorm, testing::Values(gpu::cuda_sets().front()), kernel_case::set_name);

}  // namespace
}  // namespace minim::local_response_norm_suite
