#include "gpu/kernels/kernel_case.h"
#include "minim/runtime/kernels/elementwise.h"

namespace minim::gpu {
namespace {

class CudaDropout : public KernelCase {};

TEST_F(CudaDropout, DrawsTheCpusMaskAndScalesAsItDoes) {
  const Twin step = make_from(std::vector<std::int64_t>{(std::int64_t{1} << 32U) + 77});
  const Twin ids = make_from(std::vector<std::int64_t>{5, std::int64_t{3} << 40U, 0});
  // Samples of whole packs, with a rest of a draw, smaller than a draw, and none.
  const Shape shapes[] = {{3, 64}, {3, 5, 8}, {3, 4}, {3, 7}, {3, 1}, {2, 1031}, {1, 4, 4, 3}, {3, 0}, {0, 8}};
  for (const DType dtype : kFloatingTypes) {
    for (const std::int64_t offset : kOffsets) {
      for (const double rate : {0.0, 0.1, 0.5, 0.999}) {
        for (const Shape& shape : shapes) {
          const Twin x = make_special(dtype, shape, 1, offset), y = make(dtype, shape, offset), dx = make(dtype, shape, offset);
          const auto key = [&](Side side) {
            return RandomKey{.seed = 0x123456789ABCDEF0U, .operation = 11, .attempted_step = step[side], .sample_ids = ids[side]};
          };
          const std::string what = describe(dtype, shape, offset) + ", rate " + std::to_string(rate);
          run_both([&](Side side) { return DropoutForward{.x = x[side], .y = y[side], .rate = rate, .random = key(side)}; });
          expect_equal_values(y, what);
          run_both([&](Side side) { return DropoutBackward{.dy = x[side], .dx = dx[side], .rate = rate, .random = key(side)}; });
          expect_equal_values(dx, what + " backward");
        }
      }
    }
  }
}

TEST_F(CudaDropout, WorksInPlace) {
  const Twin step = make_from(std::vector<std::int64_t>{1}), ids = make_from(std::vector<std::int64_t>{1, 2});
  for (const std::int64_t size : {64, 67}) {
    const Twin x = make_filled(DType::fp16, {2, size}, 1);
    run_both([&](Side side) {
      return DropoutForward{
          .x = x[side], .y = x[side], .rate = 0.3, .random = {.attempted_step = step[side], .sample_ids = ids[side]}};
    });
    expect_equal_values(x, std::to_string(size));
  }
}

}  // namespace
}  // namespace minim::gpu
