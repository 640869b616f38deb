#include "runtime/nonlinearity_suite.h"
#include "runtime/vector_case.h"

namespace minim {

namespace nonlinearity_suite {
MINIM_FOR_EACH_INSTRUCTION_SET(KernelNonlinearity);
}

namespace {

using VectorNonlinearity = vector_case::VectorCase;

TEST_P(VectorNonlinearity, HasTheSameBitsForAnyNumberOfThreads) {
  constexpr std::int64_t kCount = 100003;
  const Nonlinearity gelu{.kind = Nonlinearity::Kind::gelu};
  const Tensor x = make_filled(DType::fp16, {kCount}, 1, -4, 4), dy = make_filled(DType::fp16, {kCount}, 2);
  const Tensor one = make(DType::fp16, {kCount}), three = make(DType::fp16, {kCount});
  const Tensor dx_one = make(DType::fp16, {kCount}), dx_three = make(DType::fp16, {kCount});
  run_fast(NonlinearityForward{.x = x, .y = one, .function = gelu});
  run_fast(NonlinearityBackward{.value = x, .dy = dy, .dx = dx_one, .function = gelu});
  use_threads(3);
  run_fast(NonlinearityForward{.x = x, .y = three, .function = gelu});
  run_fast(NonlinearityBackward{.value = x, .dy = dy, .dx = dx_three, .function = gelu});
  vector_case::expect_same(three, one, "y");
  vector_case::expect_same(dx_three, dx_one, "dx");
}

MINIM_FOR_EACH_INSTRUCTION_SET(VectorNonlinearity);

}  // namespace
}  // namespace minim
