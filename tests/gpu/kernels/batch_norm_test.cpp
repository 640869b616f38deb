#include "runtime/batch_norm_suite.h"

#include "gpu/kernels/cuda_set.h"

namespace minim::batch_norm_suite {
namespace {

MINIM_FOR_CUDA(KernelBatchNorm);
MINIM_FOR_CUDA(KernelBatchNormBackward);

class CudaBatchNorm : public KernelBatchNorm {};

TEST_P(CudaBatchNorm, ForwardIsWithinItsBoundWhereThreadsTakeManyRows) {
  // One channel: 2048 blocks of 256 threads take 9 rows each.
  expect_forward(make_filled(DType::fp16, {2, 1024, 2305, 1}, 1), 2, {});
}

TEST_P(CudaBatchNorm, ForwardHasTheSameBitsEveryTime) {
  const Tensor x = make_filled(DType::fp16, {4, 31, 29, 72}, 1);
  const Forward once = make_forward(DType::fp16, x.shape());
  const Forward again = make_forward(DType::fp16, x.shape());
  run_fast(arguments(x, once, {}));
  run_fast(arguments(x, again, {}));
  kernel_case::expect_same(again.y, once.y, "y");
  kernel_case::expect_same(again.rstd, once.rstd, "rstd");
}

TEST_P(CudaBatchNorm, ACountThatIsNoCountIsBroughtIntoRange) {
  const Tensor x = make_filled(DType::fp16, {3, 4, 4, 8}, 1);
  const auto forward = [&](std::int32_t valid_samples) {
    Forward found = make_forward(DType::fp16, x.shape());
    run_fast(arguments(x, found, make_int32(valid_samples)));
    return found;
  };
  const Forward all = forward(3), too_many = forward(7), negative = forward(-1);
  kernel_case::expect_same(too_many.y, all.y, "y");
  kernel_case::expect_same(too_many.mean, all.mean, "mean");
  for (std::int64_t i = 0; i < x.elements(); ++i) ASSERT_EQ(value_at(negative.y, i), 0);
}

INSTANTIATE_TEST_SUITE_P(Cuda, CudaBatchNorm, testing::Values(gpu::cuda_sets().front()), kernel_case::set_name);

}  // namespace
}  // namespace minim::batch_norm_suite
