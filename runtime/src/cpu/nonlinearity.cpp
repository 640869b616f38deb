#include "minim/runtime/kernels/nonlinearity.h"

#include "cpu/nonlinearity_loops.h"
#include "cpu/parallel.h"
#include "cpu/vector_kernels.h"

namespace minim::cpu {
namespace {

/// Exponentials take their time.
constexpr std::int64_t kGrain = kElementsPerThread / 4;

void run_forward(const NonlinearityForward& args) {
  const DType dtype = args.x.dtype();
  const auto* x = static_cast<const std::byte*>(args.x.raw());
  auto* y = static_cast<std::byte*>(args.y.raw());
  parallel_for(args.x.elements(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t offset_bytes = begin * size_bytes(dtype);
    nonlinearity(args.function, dtype, x + offset_bytes, y + offset_bytes, end - begin);
  });
}

void run_backward(const NonlinearityBackward& args) {
  const DType dtype = args.value.dtype();
  const auto* value = static_cast<const std::byte*>(args.value.raw());
  const auto* dy = static_cast<const std::byte*>(args.dy.raw());
  auto* dx = static_cast<std::byte*>(args.dx.raw());
  parallel_for(args.value.elements(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t offset_bytes = begin * size_bytes(dtype);
    nonlinearity_gradient(args.function, dtype, value + offset_bytes, dy + offset_bytes, dx + offset_bytes, end - begin);
  });
}

}  // namespace

void add_nonlinearity_kernels(Backend& backend) {
  backend.add_kernel<NonlinearityForward>(host_kernel<NonlinearityForward>(run_forward), kSet);
  backend.add_kernel<NonlinearityBackward>(host_kernel<NonlinearityBackward>(run_backward), kSet);
}

}  // namespace minim::cpu
