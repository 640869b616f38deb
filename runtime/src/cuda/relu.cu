#include <utility>

#include "cuda/activation.h"
#include "cuda/cuda_kernel.h"
#include "cuda/flat.cuh"
#include "cuda/kernels.h"
#include "minim/runtime/kernels/elementwise.h"

namespace minim::cuda {
namespace relu_kernels {

struct Rectify {
  template <class T>
  __device__ T operator()(T x) const {
    const float value = to_float(x);
    return value > 0 || value != value ? x : T{};
  }
};

struct PassPositive {
  template <class T>
  __device__ T operator()(T y, T dy) const {
    return to_float(y) > 0 ? dy : T{};
  }
};

template <class T>
__global__ void relu_forward(FlatLoop loop, const T* x, T* y) {
  for_flat<kPack<T>>(loop, Rectify{}, y, x);
}

template <class T>
__global__ void relu_backward(FlatLoop loop, const T* y, const T* dy, T* dx) {
  for_flat<kPack<T>>(loop, PassPositive{}, dx, y, dy);
}

std::function<void(Stream&)> make_forward(const ReluForward& args) {
  return dispatch_element(args.x.dtype(), [&](auto element) -> std::function<void(Stream&)> {
    using T = decltype(element);
    const T* x = device_pointer<T>(args.x);
    T* y = device_pointer<T>(args.y);
    const FlatLoop loop = flat_loop<kPack<T>>(args.x.elements(), x, y);
    return [=](Stream& stream) { launch<relu_forward<T>>(stream, shape_for<kPack<T>>(loop), loop, x, y); };
  });
}

std::function<void(Stream&)> make_backward(const ReluBackward& args) {
  return dispatch_element(args.y.dtype(), [&](auto element) -> std::function<void(Stream&)> {
    using T = decltype(element);
    const T* y = device_pointer<T>(args.y);
    const T* dy = device_pointer<T>(args.dy);
    T* dx = device_pointer<T>(args.dx);
    const FlatLoop loop = flat_loop<kPack<T>>(args.y.elements(), y, dy, dx);
    return [=](Stream& stream) { launch<relu_backward<T>>(stream, shape_for<kPack<T>>(loop), loop, y, dy, dx); };
  });
}

}  // namespace relu_kernels

std::function<void(Stream&)> followed_by_activation(std::function<void(Stream&)> enqueue, TensorView y, Activation activation) {
  if (activation == Activation::none) return enqueue;
  return [enqueue = std::move(enqueue), relu = relu_kernels::make_forward({.x = y, .y = y})](Stream& stream) {
    enqueue(stream);
    relu(stream);
  };
}

void add_relu_kernels(Backend& backend) {
  backend.add_kernel<ReluForward>(cuda_kernel<ReluForward>(relu_kernels::make_forward), kSet);
  backend.add_kernel<ReluBackward>(cuda_kernel<ReluBackward>(relu_kernels::make_backward), kSet);
}

}  // namespace minim::cuda
