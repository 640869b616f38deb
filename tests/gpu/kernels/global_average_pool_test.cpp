#include "gpu/kernels/kernel_case.h"
#include "minim/runtime/kernels/pooling.h"

namespace minim::gpu {
namespace {

class CudaGlobalAveragePool : public KernelCase {};

/// Channels that fill no pack, packs with idle threads, one chunk and several; one position, less than a block has rows, and so
/// many that a thread's sum has to go on in FP64.
const Shape kShapes[] = {{0, 7, 7, 16}, {2, 7, 7, 0},   {2, 1, 1, 3},   {3, 7, 7, 64},   {2, 7, 7, 17},
                         {1, 3, 5, 1},  {2, 4, 4, 264}, {2, 5, 3, 530}, {1, 61, 67, 64}, {1, 131, 137, 1}};

TEST_F(CudaGlobalAveragePool, IsWithinItsBound) {
  for (const DType dtype : kFloatingTypes) {
    for (const std::int64_t offset : kOffsets) {
      for (const Shape& shape : kShapes) {
        const Shape out{shape[0], shape[3]};
        const Twin x = make_filled(dtype, shape, 1, -1, 1, offset), y = make(dtype, out, offset);
        const Tensor wanted = make_host(DType::fp32, out);
        run_device(GlobalAveragePoolForward{.x = x[Side::device], .y = y[Side::device]});
        run_reference(GlobalAveragePoolForward{.x = x[Side::host], .y = wanted});
        // A thread adds at most 256 values of at most 1 in FP32; that sum, times its share of the positions, passes into the
        // mean, and all that follows is FP64.
        expect_rounded_once(
            y, wanted, [](auto) { return 256 * kUnit; }, describe(dtype, shape, offset));
      }
    }
  }
}

TEST_F(CudaGlobalAveragePool, SpreadsTheGradientAsTheCpuDoes) {
  for (const DType dtype : kFloatingTypes) {
    for (const std::int64_t offset : kOffsets) {
      for (const Shape& shape : kShapes) {
        const Twin dy = make_special(dtype, {shape[0], shape[3]}, 1, offset), dx = make(dtype, shape, offset);
        run_both([&](Side side) { return GlobalAveragePoolBackward{.dy = dy[side], .dx = dx[side]}; });
        expect_equal_values(dx, describe(dtype, shape, offset));
      }
    }
  }
}

}  // namespace
}  // namespace minim::gpu
