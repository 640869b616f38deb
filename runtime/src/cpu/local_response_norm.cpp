#include "minim/runtime/kernels/local_response_norm.h"

#include "cpu/parallel.h"
#include "cpu/response_loops.h"
#include "cpu/vector_kernels.h"

namespace minim::cpu {
namespace {

/// Calls `f(rows, channels, offset in bytes)` for pieces of the rows of x.
template <class F>
void for_rows(const ConstTensorView& x, const F& f) {
  const std::int64_t channels = x.shape()[-1];
  if (x.elements() == 0) return;
  const std::int64_t grain = kElementsPerThread / 8 / channels + 1;  // logarithms and exponentials take their time
  parallel_for(x.elements() / channels, grain,
               [&](std::int64_t begin, std::int64_t end) { f(end - begin, channels, begin * channels * size_bytes(x.dtype())); });
}

void run_forward(const LocalResponseNormForward& args) {
  const auto* x = static_cast<const std::byte*>(args.x.raw());
  auto* y = static_cast<std::byte*>(args.y.raw());
  for_rows(args.x, [&](std::int64_t rows, std::int64_t channels, std::int64_t offset_bytes) {
    normalize_responses(args.x.dtype(), args.window, rows, channels, x + offset_bytes, y + offset_bytes);
  });
}

void run_backward(const LocalResponseNormBackward& args) {
  const auto* x = static_cast<const std::byte*>(args.x.raw());
  const auto* dy = static_cast<const std::byte*>(args.dy.raw());
  auto* dx = static_cast<std::byte*>(args.dx.raw());
  for_rows(args.x, [&](std::int64_t rows, std::int64_t channels, std::int64_t offset_bytes) {
    normalize_responses_backward(args.x.dtype(), args.window, rows, channels, x + offset_bytes, dy + offset_bytes,
                                 dx + offset_bytes);
  });
}

}  // namespace

void add_local_response_norm_kernels(Backend& backend) {
  backend.add_kernel<LocalResponseNormForward>(host_kernel<LocalResponseNormForward>(run_forward), kSet);
  backend.add_kernel<LocalResponseNormBackward>(host_kernel<LocalResponseNormBackward>(run_backward), kSet);
}

}  // namespace minim::cpu
