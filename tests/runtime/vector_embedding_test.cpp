#include "runtime/embedding_suite.h"
#include "runtime/vector_case.h"

namespace minim {

namespace embedding_suite {
MINIM_FOR_EACH_INSTRUCTION_SET(KernelEmbedding);
}

namespace {

using VectorEmbedding = vector_case::VectorCase;

TEST_P(VectorEmbedding, HasTheOraclesBitsOnThreads) {
  constexpr std::int64_t kRows = 500, kColumns = 300, kPlaces = 1000;
  const Tensor indices = make(DType::int32, {kPlaces}), dy = make_filled(DType::fp16, {kPlaces, kColumns}, 1);
  for (std::int64_t i = 0; i < kPlaces; ++i) {
    indices.view().data<std::int32_t>()[i] = static_cast<std::int32_t>(i * i % 97 * 5);
  }
  const Tensor dw = make(DType::fp16, {kRows, kColumns}), wanted = make(DType::fp16, {kRows, kColumns});
  const Tensor y = make(DType::fp16, {kPlaces, kColumns}), wanted_y = make(DType::fp16, {kPlaces, kColumns});
  const auto backward = [&](const Tensor& to) {
    return EmbeddingBackward{.dy = dy, .indices = indices, .dw = to, .workspace = {}};
  };
  const auto forward = [&](const Tensor& to) { return EmbeddingForward{.w = wanted, .indices = indices, .y = to}; };
  run_oracle(backward(wanted));
  run_oracle(forward(wanted_y));
  use_threads(3);
  run_fast(backward(dw));
  run_fast(forward(y));
  vector_case::expect_same(dw, wanted, "dw");
  vector_case::expect_same(y, wanted_y, "y");
}

MINIM_FOR_EACH_INSTRUCTION_SET(VectorEmbedding);

}  // namespace
}  // namespace minim
