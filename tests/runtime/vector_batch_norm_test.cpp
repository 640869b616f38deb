#include "runtime/batch_norm_suite.h"
#include "runtime/vector_case.h"

namespace minim::batch_norm_suite {
namespace {

class VectorBatchNorm : public KernelBatchNorm {
 protected:
  void use_threads(int threads) { use_stream(make_cpu_stream("test", threads)); }
};

TEST_P(VectorBatchNorm, ForwardHasTheSameBitsForAnyNumberOfThreads) {
  const Tensor x = make_filled(DType::fp16, {16, 32, 32, 48}, 1);
  const Forward one = make_forward(DType::fp16, x.shape());
  const Forward three = make_forward(DType::fp16, x.shape());
  run_fast(arguments(x, one, {}));
  use_threads(3);
  run_fast(arguments(x, three, {}));
  kernel_case::expect_same(three.y, one.y, "y");
  kernel_case::expect_same(three.rstd, one.rstd, "rstd");
}

MINIM_FOR_EACH_INSTRUCTION_SET(KernelBatchNorm);
MINIM_FOR_EACH_INSTRUCTION_SET(KernelBatchNormBackward);
MINIM_FOR_EACH_INSTRUCTION_SET(VectorBatchNorm);

}  // namespace
}  // namespace minim::batch_norm_suite
