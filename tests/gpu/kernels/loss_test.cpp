#include "runtime/loss_suite.h"

#include "gpu/kernels/cuda_set.h"

namespace minim::loss_suite {
namespace {

MINIM_FOR_CUDA(KernelLoss);

class CudaLoss : public KernelLoss {};

TEST_P(CudaLoss, SumsMoreSamplesThanThereAreSlices) {
  for (const std::int64_t valid : {2100, 1300}) {
    expect_forward({.dtype = DType::fp16, .samples = 2100, .classes = 12, .weighted = true, .valid = valid}, "many samples");
  }
}

TEST_P(CudaLoss, HasTheSameBitsEveryTime) {
  const Options o{.dtype = DType::fp16, .samples = 517, .classes = 1000, .valid = 517};
  make_batch(o);
  const Outputs once = make_outputs(517), again = make_outputs(517);
  run_fast(forward(o, once));
  run_fast(forward(o, again));
  EXPECT_EQ(value_at(again.loss, 0), value_at(once.loss, 0));
}

TEST_P(CudaLoss, ALabelThatIsNoClassSpoilsTheLossAndItsOwnGradients) {
  for (const std::int32_t label : {-1, 10}) {
    const Options o;
    make_batch(o);
    labels_.view().data<std::int32_t>()[4] = label;
    const Outputs out = make_outputs(5);
    run_fast(forward(o, out));
    EXPECT_TRUE(std::isnan(value_at(out.loss, 0)));
    EXPECT_EQ(value_at(out.weight, 0), 5);
    const Tensor one = make_filled(DType::fp32, {1}, 1, 1, 1), dlogits = make(DType::fp32, {5, 10});
    run_fast(SoftmaxCrossEntropyBackward{.logits = logits_,
                                         .labels = labels_,
                                         .sample_weights = {},
                                         .valid_samples = {},
                                         .log_sum_exp = out.log_sum_exp,
                                         .loss_scale = one,
                                         .dlogits = dlogits});
    for (std::int64_t i = 0; i < dlogits.elements(); ++i) ASSERT_EQ(std::isnan(value_at(dlogits, i)), i >= 40) << i;
  }
}

TEST_P(CudaLoss, ALabelOfAPaddingSampleIsNotLookedAt) {
  const Options o{.valid = 3};
  make_batch(o);
  const Outputs wanted = make_outputs(5), found = make_outputs(5);
  run_fast(forward(o, wanted));
  labels_.view().data<std::int32_t>()[3] = 1 << 30;
  run_fast(forward(o, found));
  EXPECT_EQ(value_at(found.loss, 0), value_at(wanted.loss, 0));
}

MINIM_FOR_CUDA(CudaLoss);

}  // namespace
}  // namespace minim::loss_suite
