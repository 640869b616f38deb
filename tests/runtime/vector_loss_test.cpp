#include "runtime/loss_suite.h"
#include "runtime/vector_case.h"

namespace minim::loss_suite {
namespace {

class VectorLoss : public KernelLoss {
 protected:
  void use_threads(int threads) { use_stream(make_cpu_stream("test", threads)); }
};

TEST_P(VectorLoss, ALabelThatIsNoClassIsADataError) {
  for (const std::int32_t label : {-1, 10}) {
    const Options o;
    make_batch(o);
    labels_.view().data<std::int32_t>()[4] = label;
    EXPECT_THROW(run_fast(forward(o, make_outputs(5))), DataError);
  }
}

TEST_P(VectorLoss, HasTheSameBitsForAnyNumberOfThreads) {
  const Options o{.dtype = DType::fp16, .samples = 517, .classes = 1000, .valid = 517};
  make_batch(o);
  const Outputs one = make_outputs(517), three = make_outputs(517);
  run_fast(forward(o, one));
  use_threads(3);
  run_fast(forward(o, three));
  EXPECT_EQ(value_at(three.loss, 0), value_at(one.loss, 0));
}

MINIM_FOR_EACH_INSTRUCTION_SET(KernelLoss);
MINIM_FOR_EACH_INSTRUCTION_SET(VectorLoss);

}  // namespace
}  // namespace minim::loss_suite
