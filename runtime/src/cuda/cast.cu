#include "cuda/check.h"
#include "cuda/cuda_kernel.h"
#include "cuda/cuda_stream.h"
#include "cuda/flat.cuh"
#include "cuda/kernels.h"
#include "minim/runtime/kernels/elementwise.h"

namespace minim::cuda {
namespace cast_kernels {

/// By the CPU's own functions: the device's instructions for conversion give every NaN the same bits.
template <class To>
struct Convert {
  template <class From>
  __device__ To operator()(From value) const {
    return minim::round_to<To>(minim::to_float(value));
  }
};

/// Elements in 16 bytes of the narrower type.
template <class From, class To>
inline constexpr int kCastPack = static_cast<int>(16 / (sizeof(From) < sizeof(To) ? sizeof(From) : sizeof(To)));

template <class From, class To>
__global__ void cast(FlatLoop loop, const From* x, To* y) {
  for_flat<kCastPack<From, To>>(loop, Convert<To>{}, y, x);
}

std::function<void(Stream&)> make_copy(const Cast& args) {
  if (args.y.raw() == args.x.raw() || args.x.elements() == 0) return [](Stream&) {};
  return [to = args.y.raw(), from = args.x.raw(), size_bytes = static_cast<std::size_t>(args.x.size_bytes())](Stream& stream) {
    check(cudaMemcpyAsync(to, from, size_bytes, cudaMemcpyDeviceToDevice, handle_of(stream)), "cudaMemcpyAsync");
  };
}

template <class From, class To>
std::function<void(Stream&)> make_conversion(const Cast& args) {
  constexpr int kCount = kCastPack<From, To>;
  const From* x = args.x.data<From>();
  To* y = args.y.data<To>();
  const FlatLoop loop = flat_loop<kCount>(args.x.elements(), x, y);
  return [=](Stream& stream) { launch<cast<From, To>>(stream, shape_for<kCount>(loop), loop, x, y); };
}

std::function<void(Stream&)> make_cast(const Cast& args) {
  if (args.x.dtype() == args.y.dtype()) return make_copy(args);
  return dispatch_floating(args.x.dtype(), [&](auto from) {
    return dispatch_floating(args.y.dtype(), [&](auto to) -> std::function<void(Stream&)> {
      if constexpr (std::is_same_v<decltype(from), decltype(to)>) {
        return make_copy(args);
      } else {
        return make_conversion<decltype(from), decltype(to)>(args);
      }
    });
  });
}

}  // namespace cast_kernels

void add_cast_kernels(Backend& backend) { backend.add_kernel<Cast>(cuda_kernel<Cast>(cast_kernels::make_cast), kSet); }

}  // namespace minim::cuda
