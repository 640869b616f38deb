#include "runtime/pooling_suite.h"

#include "gpu/kernels/cuda_set.h"

namespace minim::pooling_suite {
namespace {

MINIM_FOR_CUDA(KernelPooling);

using CudaPooling = KernelPooling;

TEST_P(CudaPooling, HasTheBitsOfTheCpuKernels) {
  const auto cpu = make_cpu_backend(1);
  const auto stream = cpu->make_stream("cpu");
  for_cases([&](DType dtype, const PoolGeometry& geometry, const Shape& in, const Shape& out, const std::string& what) {
    const Tensor x = make_filled(dtype, in, 1), y = make(dtype, out), wanted = make(dtype, out);
    const Tensor dy = make_filled(dtype, out, 2), dx = make(dtype, in), dx_wanted = make(dtype, in);
    const Tensor argmax = make(DType::uint8, out);
    const auto compare = [&](auto forward, auto backward) {
      run_fast(forward);
      forward.y = wanted;
      cpu->run(*stream, forward);
      expect_same(y, wanted, what);
      run_fast(backward);
      backward.dx = dx_wanted;
      cpu->run(*stream, backward);
      expect_same(dx, dx_wanted, what + " backward");
    };
    compare(MaxPoolForward{.x = x, .y = y, .argmax = argmax, .geometry = geometry},
            MaxPoolBackward{.dy = dy, .argmax = argmax, .dx = dx, .geometry = geometry});
    for (const bool count_padding : {false, true}) {
      compare(AveragePoolForward{.x = x, .y = y, .geometry = geometry, .count_padding = count_padding},
              AveragePoolBackward{.dy = dy, .dx = dx, .geometry = geometry, .count_padding = count_padding});
    }
  });
}

MINIM_FOR_CUDA(CudaPooling);

}  // namespace
}  // namespace minim::pooling_suite
