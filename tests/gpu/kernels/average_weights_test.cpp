#include <gtest/gtest.h>

#include <vector>

#include "average_kernels.h"
#include "minim/optimizer/step_state.h"
#include "minim/optimizer/update_rule.h"
#include "minim/runtime/cuda.h"
#include "minim/runtime/transfer.h"

namespace minim {
namespace {

/// The average after a step of it on a backend.
std::vector<float> averaged(Backend& backend, std::int64_t elements, std::int64_t offset, bool applied) {
  add_average_kernel(backend);
  const auto stream = backend.make_stream("compute");
  std::vector<float> weights, averages;
  for (std::int64_t i = 0; i < elements; ++i) {
    weights.push_back(static_cast<float>(i * 37 % 101 + 1) / 7);
    averages.push_back(static_cast<float>(i * 53 % 89) / -11);
  }
  const Tensor weight = backend.allocate_tensor(DType::fp32, Shape{elements + offset}, MemoryKind::master_weights);
  const Tensor average = backend.allocate_tensor(DType::fp32, Shape{elements + offset}, MemoryKind::moments);
  const Tensor state = backend.allocate_tensor(DType::uint8, Shape{sizeof(StepState)}, MemoryKind::state);
  upload(backend, weights, weight.view().slice(offset, offset + elements));
  upload(backend, averages, average.view().slice(offset, offset + elements));
  StepState values;
  values.last_applied = applied ? 1 : 0;
  backend.copy(state, ConstTensorView(&values, DType::uint8, Shape{sizeof(StepState)}));
  const TensorView own = average.view().slice(offset, offset + elements);
  backend.run(
      *stream,
      AverageWeights{
          .decay = 0.999, .weight = weight.view().slice(offset, offset + elements), .average = own, .state = state.view()});
  stream->synchronize();
  download(backend, own, averages);
  return averages;
}

TEST(CudaAverageWeights, HasTheBitsOfTheHost) {
  const auto cuda = make_cuda_backend({});
  const auto cpu = make_cpu_backend(1);
  for (const std::int64_t elements : {1, 4, 1000, 20011}) {
    for (const std::int64_t offset : {0, 1}) {
      EXPECT_EQ(averaged(*cuda, elements, offset, true), averaged(*cpu, elements, offset, true)) << elements;
      EXPECT_EQ(averaged(*cuda, elements, offset, false), averaged(*cpu, elements, offset, false)) << elements;
      EXPECT_NE(averaged(*cuda, elements, offset, true), averaged(*cuda, elements, offset, false)) << elements;
    }
  }
}

}  // namespace
}  // namespace minim
