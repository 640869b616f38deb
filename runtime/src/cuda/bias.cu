#include "minim/runtime/kernels/bias.h"

#include "cuda/cuda_kernel.h"
#include "cuda/floats.cuh"
#include "cuda/kernels.h"
#include "cuda/launch.h"
#include "cuda/rows.h"

namespace minim::cuda {
namespace bias_kernels {

/// y has `packs` packs, each within a row.
template <class T, int kWidth>
__global__ void add_bias(const T* bias, std::int64_t channels, T* y, std::int64_t packs) {
  for (std::int64_t i = grid_thread(); i < packs; i += grid_threads()) {
    auto value = load_floats<kWidth>(y + i * kWidth);
    value += load_floats<kWidth>(bias + i * kWidth % channels);
    store_floats(y + i * kWidth, value);
  }
}

std::function<void(Stream&)> make_add(const AddBias& args) {
  const std::int64_t channels = args.bias.elements(), elements = args.y.elements();
  const bool packed = fits_packs(args.y.dtype(), channels, args.y.raw(), args.bias.raw());
  return dispatch_packs(args.y.dtype(), packed, [&](auto element, auto width) -> std::function<void(Stream&)> {
    using T = decltype(element);
    return [=, bias = device_pointer<T>(args.bias), y = device_pointer<T>(args.y)](Stream& stream) {
      launch<add_bias<T, width>>(stream, shape_for(elements / width), bias, channels, y, elements / width);
    };
  });
}

std::function<void(Stream&)> make_gradient(const BiasGradient& args) {
  return make_sum_rows(args.dy, args.dbias, args.accumulate, args.workspace);
}

std::int64_t workspace_bytes(const BiasGradient& args) { return sum_rows_workspace_bytes(args.dy); }

}  // namespace bias_kernels

void add_bias_kernels(Backend& backend) {
  namespace own = bias_kernels;
  backend.add_kernel<AddBias>(cuda_kernel<AddBias>(own::make_add), kSet);
  backend.add_kernel<BiasGradient>(cuda_kernel<BiasGradient>(own::make_gradient, own::workspace_bytes), kSet);
}

}  // namespace minim::cuda
