#include "runtime/pooling_suite.h"
#include "runtime/vector_case.h"

namespace minim {

namespace pooling_suite {
MINIM_FOR_EACH_INSTRUCTION_SET(KernelPooling);
}

namespace {

using vector_case::expect_same;
using VectorPooling = vector_case::VectorCase;

TEST_P(VectorPooling, HasTheSameBitsForAnyNumberOfThreads) {
  const Shape in{8, 32, 32, 48}, out{8, 16, 16, 48};
  const Tensor x = make_filled(DType::fp16, in, 1), argmax = make(DType::uint8, out);
  const Tensor one = make(DType::fp16, out), three = make(DType::fp16, out);
  const Tensor dx_one = make(DType::fp16, in), dx_three = make(DType::fp16, in);
  run_fast(MaxPoolForward{.x = x, .y = one, .argmax = argmax, .geometry = {}});
  run_fast(MaxPoolBackward{.dy = one, .argmax = argmax, .dx = dx_one, .geometry = {}});
  use_threads(3);
  run_fast(MaxPoolForward{.x = x, .y = three, .argmax = argmax, .geometry = {}});
  run_fast(MaxPoolBackward{.dy = three, .argmax = argmax, .dx = dx_three, .geometry = {}});
  expect_same(three, one, "y");
  expect_same(dx_three, dx_one, "dx");
}

MINIM_FOR_EACH_INSTRUCTION_SET(VectorPooling);

}  // namespace
}  // namespace minim
