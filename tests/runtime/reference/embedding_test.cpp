#include "minim/runtime/kernels/embedding.h"

#include "runtime/reference/reference_case.h"

namespace minim {
namespace {

using Floats = std::vector<float>;
class ReferenceEmbedding : public ReferenceCase {};

TEST_F(ReferenceEmbedding, TakesRowsByTheirIndices) {
  const Tensor w = tensor({3, 2}, {1, 2, 3, 4, 5, 6}), y = untouched({4, 2});
  run(EmbeddingForward{.w = w, .indices = integers<std::int32_t>({2, 0, 2, 1}), .y = y});
  EXPECT_EQ(values(y), (Floats{5, 6, 1, 2, 5, 6, 3, 4}));
  run(EmbeddingForward{.w = w, .indices = integers<std::int64_t>({1, 1, 0, 2}), .y = y});
  EXPECT_EQ(values(y), (Floats{3, 4, 3, 4, 1, 2, 5, 6}));
}

TEST_F(ReferenceEmbedding, GradientAddsUpForEachRow) {
  const Tensor dy = tensor({4, 2}, {1, 2, 10, 20, 100, 200, 1000, 2000}), dw = untouched({3, 2});
  const Tensor indices = integers<std::int32_t>({2, 0, 2, 3});
  EmbeddingBackward args{.dy = dy, .indices = indices, .dw = dw, .workspace = {}};
  run(args);
  EXPECT_EQ(values(dw), (Floats{10, 20, 0, 0, 101, 202}));
  args.accumulate = true;
  run(args);
  EXPECT_EQ(values(dw), (Floats{20, 40, 0, 0, 202, 404}));
}

TEST_F(ReferenceEmbedding, LeavesOutPadding) {
  const Tensor w = tensor({2, 1}, {1, 2}), y = untouched({2, 2, 1}), dw = untouched({2, 1});
  const Tensor indices = untouched({2, 2}, DType::int32), valid = integers<std::int32_t>({1});
  const std::int32_t given[] = {1, 0, 77, 1};
  std::ranges::copy(given, indices.span<std::int32_t>().begin());
  run(EmbeddingForward{.w = w, .indices = indices, .valid_samples = valid, .y = y});
  EXPECT_EQ(values(y), (Floats{2, 1, 0, 0}));
  run(EmbeddingBackward{
      .dy = tensor({2, 2, 1}, {1, 2, 3, 4}), .indices = indices, .valid_samples = valid, .dw = dw, .workspace = {}});
  EXPECT_EQ(values(dw), (Floats{2, 1}));
}

}  // namespace
}  // namespace minim
