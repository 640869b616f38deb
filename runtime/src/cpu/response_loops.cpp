#include "cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/response_loops.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <hwy/contrib/math/math-inl.h>

#include <algorithm>

#include "cpu/lanes-inl.h"
#include "cpu/response_loops.h"

HWY_BEFORE_NAMESPACE();
namespace minim::cpu::HWY_NAMESPACE {
namespace {

/// Channels of a row that are normalised together, from FP32 copies with a margin on both sides.
constexpr std::int64_t kPiece = 256;
constexpr std::int64_t kMargin = kMaxResponseWindow / 2;
/// Whole vectors are read and written even where the last is not full.
constexpr std::int64_t kBuffer = kPiece + 4 * kMargin + kLanes;

/// A window and its constants in FP32.
struct Norm {
  std::int64_t half;
  VFloats k, share, beta, factor;

  explicit Norm(const ResponseWindow& window)
      : half(window.size / 2),
        k(set(window.k)),
        share(set(window.alpha / static_cast<double>(window.size))),
        beta(set(window.beta)),
        factor(set(-2 * window.alpha * window.beta / static_cast<double>(window.size))) {}

  static VFloats set(double value) { return hn::Set(kFloats, static_cast<float>(value)); }

  /// The sum of a window's elements, the first of which is *p, and of the windows next to it.
  HWY_INLINE VFloats sum(const float* p) const {
    VFloats total = load(p);
    for (std::int64_t i = 1; i <= 2 * half; ++i) total = hn::Add(total, load(p + i));
    return total;
  }
  /// s, from squares.
  HWY_INLINE VFloats norm(const float* squares) const { return hn::MulAdd(share, sum(squares), k); }
  /// s^-beta. Highway's logarithm wants finite numbers; 1 / s is 0 for infinity and NaN for NaN.
  HWY_INLINE VFloats power(VFloats s) const {
    const VFloats power = hn::Exp(kFloats, hn::Neg(hn::Mul(beta, hn::Log(kFloats, s))));
    return hn::IfThenElse(hn::IsFinite(s), power, hn::Div(hn::Set(kFloats, 1), s));
  }
};

/// Elements [begin, end) of a row as floats, 0 where there is no element.
template <class T>
void copy_piece(const T* row, std::int64_t channels, std::int64_t begin, std::int64_t end, float* out) {
  const std::int64_t first = std::clamp<std::int64_t>(begin, 0, channels);
  const std::int64_t last = std::clamp<std::int64_t>(end, first, channels);
  std::fill(out, out + (first - begin), 0.0F);
  for_lanes(first, last, [=](auto lanes, std::int64_t c) { store(lanes, load(lanes, row + c), out + (c - begin)); });
  std::fill(out + (last - begin), out + (end - begin), 0.0F);
}

void square(const float* x, std::int64_t elements, float* squares) {
  for_lanes(0, elements, [=](auto lanes, std::int64_t i) {
    const VFloats v = load(lanes, x + i);
    store(lanes, hn::Mul(v, v), squares + i);
  });
}

template <class T>
void typed_forward(const Norm& norm, std::int64_t channels, const T* x, T* y) {
  float values[kBuffer], squares[kBuffer];
  for (std::int64_t begin = 0; begin < channels; begin += kPiece) {
    const std::int64_t size = std::min(kPiece, channels - begin);
    copy_piece(x, channels, begin - norm.half, begin + size + norm.half, values);
    square(values, size + 2 * norm.half, squares);
    for_lanes(0, size, [&](auto lanes, std::int64_t c) {
      store(lanes, hn::Mul(load(values + norm.half + c), norm.power(norm.norm(squares + c))), y + begin + c);
    });
  }
}

/// One piece of a row: first s^-beta and dy x s^(-beta - 1) of the piece and its neighbours, then the gradient.
template <class T>
void typed_backward(const Norm& norm, std::int64_t channels, const T* x, const T* dy, T* dx) {
  float values[kBuffer], squares[kBuffer], gradients[kBuffer], powers[kBuffer], terms[kBuffer];
  const std::int64_t half = norm.half;
  for (std::int64_t begin = 0; begin < channels; begin += kPiece) {
    const std::int64_t size = std::min(kPiece, channels - begin);
    copy_piece(x, channels, begin - 2 * half, begin + size + 2 * half, values);
    square(values, size + 4 * half, squares);
    copy_piece(dy, channels, begin - half, begin + size + half, gradients);
    for_lanes(0, size + 2 * half, [&](auto lanes, std::int64_t i) {
      const VFloats s = norm.norm(squares + i);
      const VFloats power = norm.power(s);
      store(lanes, power, powers + i);
      store(lanes, hn::Mul(hn::Mul(load(gradients + i), load(values + half + i)), hn::Div(power, s)), terms + i);
    });
    for_lanes(0, size, [&](auto lanes, std::int64_t c) {
      const VFloats own = hn::Mul(load(gradients + half + c), load(powers + half + c));
      const VFloats others = hn::Mul(load(values + 2 * half + c), norm.sum(terms + c));
      store(lanes, hn::MulAdd(norm.factor, others, own), dx + begin + c);
    });
  }
}

void forward(DType dtype, const ResponseWindow& window, std::int64_t rows, std::int64_t channels, const void* x, void* y) {
  const Norm norm(window);
  dispatch_floating(dtype, [&](auto t) {
    using T = decltype(t);
    for (std::int64_t i = 0; i < rows * channels; i += channels) {
      typed_forward(norm, channels, static_cast<const T*>(x) + i, static_cast<T*>(y) + i);
    }
  });
}

void backward(DType dtype, const ResponseWindow& window, std::int64_t rows, std::int64_t channels, const void* x, const void* dy,
              void* dx) {
  const Norm norm(window);
  dispatch_floating(dtype, [&](auto t) {
    using T = decltype(t);
    for (std::int64_t i = 0; i < rows * channels; i += channels) {
      typed_backward(norm, channels, static_cast<const T*>(x) + i, static_cast<const T*>(dy) + i, static_cast<T*>(dx) + i);
    }
  });
}

}  // namespace
}  // namespace minim::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace minim::cpu {

HWY_EXPORT(forward);
HWY_EXPORT(backward);

void normalize_responses(DType dtype, const ResponseWindow& window, std::int64_t rows, std::int64_t channels, const void* x,
                         void* y) {
  HWY_DYNAMIC_DISPATCH(forward)(dtype, window, rows, channels, x, y);
}

void normalize_responses_backward(DType dtype, const ResponseWindow& window, std::int64_t rows, std::int64_t channels,
                                  const void* x, const void* dy, void* dx) {
  HWY_DYNAMIC_DISPATCH(backward)(dtype, window, rows, channels, x, dy, dx);
}

}  // namespace minim::cpu
#endif  // HWY_ONCE
