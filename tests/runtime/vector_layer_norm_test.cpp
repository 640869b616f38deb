#include "runtime/layer_norm_suite.h"
#include "runtime/vector_case.h"

namespace minim {

namespace layer_norm_suite {
MINIM_FOR_EACH_INSTRUCTION_SET(KernelLayerNorm);
}

namespace {

using VectorLayerNorm = vector_case::VectorCase;

TEST_P(VectorLayerNorm, HasTheSameBitsForAnyNumberOfThreads) {
  const Shape shape{700, 130}, rows{700}, channels{130};
  const Tensor x = make_filled(DType::fp16, shape, 1), dy = make_filled(DType::fp16, shape, 2);
  const Tensor gamma = make_filled(DType::fp32, channels, 3);
  const auto results = [&] {
    const std::vector<Tensor> r{make(DType::fp16, shape), make(DType::fp32, rows),     make(DType::fp32, rows),
                                make(DType::fp16, shape), make(DType::fp32, channels), make(DType::fp32, channels)};
    run_fast(LayerNormForward{.x = x, .gamma = gamma, .beta = gamma, .y = r[0], .mean = r[1], .rstd = r[2]});
    run_fast(LayerNormBackwardData{.x = x, .dy = dy, .gamma = gamma, .mean = r[1], .rstd = r[2], .dx = r[3]});
    run_fast(
        LayerNormBackwardWeights{.x = x, .dy = dy, .mean = r[1], .rstd = r[2], .dgamma = r[4], .dbeta = r[5], .workspace = {}});
    return r;
  };
  const std::vector<Tensor> one = results();
  use_threads(3);
  const std::vector<Tensor> three = results();
  for (std::size_t i = 0; i < one.size(); ++i) vector_case::expect_same(three[i], one[i], "result " + std::to_string(i));
}

MINIM_FOR_EACH_INSTRUCTION_SET(VectorLayerNorm);

}  // namespace
}  // namespace minim
