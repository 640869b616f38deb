#include "runtime/local_response_norm_suite.h"
#include "runtime/vector_case.h"

namespace minim {

namespace local_response_norm_suite {
MINIM_FOR_EACH_INSTRUCTION_SET(KernelLocalResponseNorm);
}

namespace {

using vector_case::expect_same;
using VectorLocalResponseNorm = vector_case::VectorCase;

TEST_P(VectorLocalResponseNorm, HasTheSameBitsForAnyNumberOfThreads) {
  const Shape shape{4, 16, 16, 48};
  const Tensor x = make_filled(DType::fp16, shape, 1), dy = make_filled(DType::fp16, shape, 2);
  const Tensor one = make(DType::fp16, shape), three = make(DType::fp16, shape);
  const Tensor dx_one = make(DType::fp16, shape), dx_three = make(DType::fp16, shape);
  run_fast(LocalResponseNormForward{.x = x, .y = one, .window = {}});
  run_fast(LocalResponseNormBackward{.x = x, .dy = dy, .dx = dx_one, .window = {}});
  use_threads(3);
  run_fast(LocalResponseNormForward{.x = x, .y = three, .window = {}});
  run_fast(LocalResponseNormBackward{.x = x, .dy = dy, .dx = dx_three, .window = {}});
  expect_same(three, one, "y");
  expect_same(dx_three, dx_one, "dx");
}

MINIM_FOR_EACH_INSTRUCTION_SET(VectorLocalResponseNorm);

}  // namespace
}  // namespace minim
