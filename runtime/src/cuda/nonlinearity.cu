#include "minim/runtime/kernels/nonlinearity.h"

#include "cuda/cuda_kernel.h"
#include "cuda/flat.cuh"
#include "cuda/kernels.h"

namespace minim::cuda {
namespace nonlinearity_kernels {

// Each function in FP32, and what its derivative makes of dy.

struct LeakyRelu {
  __device__ float value(float x) const { return x > 0 ? x : slope * x; }
  __device__ float gradient(float y, float dy) const { return y > 0 ? dy : slope * dy; }

  float slope;
};

struct Sigmoid {
  /// With e^-|x|, which does not overflow, and keeps small results exact.
  __device__ float value(float x) const {
    const float power = expf(-fabsf(x));
    return (x < 0 ? power : 1.0F) / (1.0F + power);
  }
  __device__ float gradient(float y, float dy) const { return dy * (y * (1.0F - y)); }
};

struct Tanh {
  __device__ float value(float x) const { return tanhf(x); }
  __device__ float gradient(float y, float dy) const { return dy * ((1.0F - y) * (1.0F + y)); }
};

struct Gelu {
  __device__ float value(float x) const {
    const float bounded = in_range(x);
    return (x < bounded ? bounded : x) * distribution(bounded);
  }
  __device__ float gradient(float x, float dy) const {
    constexpr float kDensityAt0 = 0.3989422804F;  // 1 / sqrt(2 pi)
    const float bounded = in_range(x);
    return dy * (distribution(bounded) + bounded * kDensityAt0 * expf(-0.5F * (bounded * bounded)));
  }
  /// Beyond, the function is 0 or x; infinity times 0 would be NaN. NaN stays.
  __device__ static float in_range(float x) { return x < -40.0F ? -40.0F : x > 40.0F ? 40.0F : x; }
  /// Phi(x), with its relative precision where it is small, as it would not have from 1 + erf.
  __device__ static float distribution(float x) {
    constexpr float kSqrtHalf = 0.7071067812F;
    return 0.5F * erfcf(-kSqrtHalf * x);
  }
};

template <class Function>
struct Value {
  template <class T>
  __device__ T operator()(T x) const {
    return round_to<T>(function.value(to_float(x)));
  }

  Function function;
};

template <class Function>
struct Gradient {
  template <class T>
  __device__ T operator()(T value, T dy) const {
    return round_to<T>(function.gradient(to_float(value), to_float(dy)));
  }

  Function function;
};

template <class T, class Function>
__global__ void nonlinearity_forward(FlatLoop loop, Function function, const T* x, T* y) {
  for_flat<kPack<T>>(loop, Value<Function>{function}, y, x);
}

template <class T, class Function>
__global__ void nonlinearity_backward(FlatLoop loop, Function function, const T* value, const T* dy, T* dx) {
  for_flat<kPack<T>>(loop, Gradient<Function>{function}, dx, value, dy);
}

/// Calls `f(T{}, function)`.
template <class F>
std::function<void(Stream&)> dispatch(const Nonlinearity& function, DType dtype, const F& f) {
  using Kind = Nonlinearity::Kind;
  return dispatch_element(dtype, [&](auto element) -> std::function<void(Stream&)> {
    switch (function.kind) {
      case Kind::leaky_relu: return f(element, LeakyRelu{static_cast<float>(function.slope)});
      case Kind::sigmoid: return f(element, Sigmoid{});
      case Kind::tanh: return f(element, Tanh{});
      case Kind::gelu: return f(element, Gelu{});
    }
    throw InvalidArgument("nonlinearity: the function has no kernel");
  });
}

std::function<void(Stream&)> make_forward(const NonlinearityForward& args) {
  return dispatch(args.function, args.x.dtype(), [&](auto element, auto function) -> std::function<void(Stream&)> {
    using T = decltype(element);
    const T* x = device_pointer<T>(args.x);
    T* y = device_pointer<T>(args.y);
    const FlatLoop loop = flat_loop<kPack<T>>(args.x.elements(), x, y);
    return [=](Stream& stream) {
      launch<nonlinearity_forward<T, decltype(function)>>(stream, shape_for<kPack<T>>(loop), loop, function, x, y);
    };
  });
}

std::function<void(Stream&)> make_backward(const NonlinearityBackward& args) {
  return dispatch(args.function, args.value.dtype(), [&](auto element, auto function) -> std::function<void(Stream&)> {
    using T = decltype(element);
    const T* value = device_pointer<T>(args.value);
    const T* dy = device_pointer<T>(args.dy);
    T* dx = device_pointer<T>(args.dx);
    const FlatLoop loop = flat_loop<kPack<T>>(args.value.elements(), value, dy, dx);
    return [=](Stream& stream) {
      launch<nonlinearity_backward<T, decltype(function)>>(stream, shape_for<kPack<T>>(loop), loop, function, value, dy, dx);
    };
  });
}

}  // namespace nonlinearity_kernels

void add_nonlinearity_kernels(Backend& backend) {
  namespace own = nonlinearity_kernels;
  backend.add_kernel<NonlinearityForward>(cuda_kernel<NonlinearityForward>(own::make_forward), kSet);
  backend.add_kernel<NonlinearityBackward>(cuda_kernel<NonlinearityBackward>(own::make_backward), kSet);
}

}  // namespace minim::cuda
