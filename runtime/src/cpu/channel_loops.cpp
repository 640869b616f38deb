#include "cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/channel_loops.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <type_traits>

#include "cpu/channel_loops.h"
#include "cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace minim::cpu::HWY_NAMESPACE {
namespace {

/// Rows whose values of one vector of channels are in flight at once; what belongs to the channels is loaded once for them.
/// More rows are more streams to and from memory: sums read up to 16 well, stores fall behind with more than 4.
using SumRows = std::integral_constant<std::int64_t, 8>;
using StoreRows = std::integral_constant<std::int64_t, 4>;
using OneRow = std::integral_constant<std::int64_t, 1>;

/// How far ahead of a group of rows its inputs are fetched: several rows in turn are a pattern that the hardware follows late.
/// From memory this doubles the rate at 256 channels (2 KiB: half of that gain); in the cache it costs up to a tenth.
constexpr std::uintptr_t kPrefetchBytes = 8192;

/// Loads for a loop over groups of rows.
template <class Lanes, class T>
HWY_API VFloats load_ahead(Lanes lanes, const T* p) {
  prefetch(p, kPrefetchBytes);
  return load(lanes, p);
}

/// Calls `visit(rows, lanes, offset, c)` for every group of `Rows` rows and the single ones left, and every vector of channels;
/// `offset` is that of the group's first row.
template <class Rows, class Visit>
HWY_API void for_groups(const ChannelBlock& block, const Visit& visit) {
  std::int64_t row = block.row_begin;
  for (; row + Rows::value <= block.row_end; row += Rows::value) {
    for_lanes(block.channel_begin, block.channel_end,
              [&](auto lanes, std::int64_t c) { visit(Rows{}, lanes, row * block.channels + c, c); });
  }
  for (; row < block.row_end; ++row) {
    for_lanes(block.channel_begin, block.channel_end,
              [&](auto lanes, std::int64_t c) { visit(OneRow{}, lanes, row * block.channels + c, c); });
  }
}

void clear(const ChannelBlock& block, float* values) {
  std::fill(values + block.channel_begin, values + block.channel_end, 0.0F);
}

template <class T>
void typed_sums(const T* x, const ChannelBlock& block, float* sums) {
  clear(block, sums);
  for_groups<SumRows>(block, [=, stride = block.channels](auto rows, auto lanes, std::int64_t offset, std::int64_t c) {
    VFloats sum[2] = {hn::Zero(kFloats), hn::Zero(kFloats)};
    for (std::int64_t k = 0; k < rows; ++k) sum[k % 2] = hn::Add(sum[k % 2], load_ahead(lanes, x + offset + k * stride));
    store(lanes, hn::Add(load(lanes, sums + c), hn::Add(sum[0], sum[1])), sums + c);
  });
}

template <class T>
void typed_moments(const T* x, const ChannelBlock& block, float* mean, float* squares) {
  clear(block, mean);
  clear(block, squares);
  const T* const first_row = x + block.row_begin * block.channels;
  for_groups<SumRows>(block, [=, stride = block.channels](auto rows, auto lanes, std::int64_t offset, std::int64_t c) {
    const VFloats origin = load(lanes, first_row + c);
    VFloats sum[2] = {hn::Zero(kFloats), hn::Zero(kFloats)};
    VFloats square[2] = {hn::Zero(kFloats), hn::Zero(kFloats)};
    for (std::int64_t k = 0; k < rows; ++k) {
      const VFloats deviation = hn::Sub(load_ahead(lanes, x + offset + k * stride), origin);
      sum[k % 2] = hn::Add(sum[k % 2], deviation);
      square[k % 2] = hn::MulAdd(deviation, deviation, square[k % 2]);
    }
    store(lanes, hn::Add(load(lanes, mean + c), hn::Add(sum[0], sum[1])), mean + c);
    store(lanes, hn::Add(load(lanes, squares + c), hn::Add(square[0], square[1])), squares + c);
  });
  const VFloats count = hn::Set(kFloats, static_cast<float>(block.rows()));
  for_lanes(block.channel_begin, block.channel_end, [=](auto lanes, std::int64_t c) {
    const VFloats sum = load(lanes, mean + c);
    const VFloats offset = hn::Div(sum, count);
    store(lanes, hn::NegMulAdd(sum, offset, load(lanes, squares + c)), squares + c);
    store(lanes, hn::Add(load(lanes, first_row + c), offset), mean + c);
  });
}

/// The coefficients of a vector of channels.
struct AffineVectors {
  template <class Lanes>
  HWY_INLINE AffineVectors(Lanes lanes, const ChannelAffine& affine, std::int64_t c)
      : mean(load(lanes, affine.mean + c)), scale(load(lanes, affine.scale + c)), shift(load(lanes, affine.shift + c)) {}

  HWY_INLINE VFloats operator()(VFloats x) const { return hn::MulAdd(hn::Sub(x, mean), scale, shift); }

  VFloats mean, scale, shift;
};

template <class Relu, class T>
void typed_affine(const T* x, const T* addend, T* y, const ChannelBlock& block, const ChannelAffine& coefficients, Relu relu) {
  const auto loop = [&](auto adds) {
    for_groups<StoreRows>(block, [=, stride = block.channels](auto rows, auto lanes, std::int64_t offset, std::int64_t c) {
      const AffineVectors affine(lanes, coefficients, c);
      for (std::int64_t k = 0; k < rows; ++k) {
        const std::int64_t i = offset + k * stride;
        VFloats value = affine(load_ahead(lanes, x + i));
        if constexpr (adds) value = hn::Add(value, load_ahead(lanes, addend + i));
        if constexpr (relu) value = hn::IfThenZeroElse(hn::Le(value, hn::Zero(kFloats)), value);
        store(lanes, value, y + i);
      }
    });
  };
  addend != nullptr ? loop(std::true_type{}) : loop(std::false_type{});
}

/// dy, or with `relu` where the result of `affine` stays positive when it is stored.
template <class T, class Relu>
HWY_API VFloats passed(Relu relu, const AffineVectors& affine, VFloats x, VFloats dy) {
  if constexpr (!relu) return dy;
  return hn::IfThenElseZero(hn::Gt(affine(x), hn::Set(kFloats, kRoundsToZero<T>)), opaque(dy));
}

template <class Relu, class T>
void typed_gradient_sums(const T* x, const T* dy, const ChannelBlock& block, const ChannelAffine& coefficients, Relu relu,
                         float* sums, float* products) {
  clear(block, sums);
  clear(block, products);
  for_groups<SumRows>(block, [=, stride = block.channels](auto rows, auto lanes, std::int64_t offset, std::int64_t c) {
    const AffineVectors affine(lanes, coefficients, c);
    VFloats sum[2] = {hn::Zero(kFloats), hn::Zero(kFloats)};
    VFloats product[2] = {hn::Zero(kFloats), hn::Zero(kFloats)};
    for (std::int64_t k = 0; k < rows; ++k) {
      const std::int64_t i = offset + k * stride;
      const VFloats value = load_ahead(lanes, x + i);
      const VFloats g = passed<T>(relu, affine, value, load_ahead(lanes, dy + i));
      sum[k % 2] = hn::Add(sum[k % 2], g);
      product[k % 2] = hn::MulAdd(g, hn::Sub(value, affine.mean), product[k % 2]);
    }
    store(lanes, hn::Add(load(lanes, sums + c), hn::Add(sum[0], sum[1])), sums + c);
    store(lanes, hn::Add(load(lanes, products + c), hn::Add(product[0], product[1])), products + c);
  });
}

template <class Relu, class T>
void typed_gradient(const T* x, const T* dy, T* dx, const ChannelBlock& block, const ChannelAffine& coefficients, Relu relu,
                    const float* slope, const float* shift) {
  for_groups<StoreRows>(block, [=, stride = block.channels](auto rows, auto lanes, std::int64_t offset, std::int64_t c) {
    const AffineVectors affine(lanes, coefficients, c);
    const VFloats b = load(lanes, slope + c);
    const VFloats d = load(lanes, shift + c);
    for (std::int64_t k = 0; k < rows; ++k) {
      const std::int64_t i = offset + k * stride;
      const VFloats value = load_ahead(lanes, x + i);
      const VFloats from_x = hn::MulAdd(hn::Sub(value, affine.mean), b, d);
      store(lanes, hn::MulAdd(passed<T>(relu, affine, value, load_ahead(lanes, dy + i)), affine.scale, from_x), dx + i);
    }
  });
}

template <class T>
const T* typed(const void* data) {
  return static_cast<const T*>(data);
}
template <class T>
T* typed(void* data) {
  return static_cast<T*>(data);
}

void sums(DType dtype, const void* x, const ChannelBlock& block, float* result) {
  dispatch_floating(dtype, [&](auto t) { typed_sums(typed<decltype(t)>(x), block, result); });
}

void moments(DType dtype, const void* x, const ChannelBlock& block, float* mean, float* squares) {
  dispatch_floating(dtype, [&](auto t) { typed_moments(typed<decltype(t)>(x), block, mean, squares); });
}

/// Calls `f(element type, whether there is a ReLU)`, both as types.
template <class F>
void dispatch(DType dtype, Activation activation, const F& f) {
  dispatch_floating(dtype, [&](auto t) { activation == Activation::relu ? f(t, std::true_type{}) : f(t, std::false_type{}); });
}

void affine(DType dtype, const void* x, const void* addend, void* y, const ChannelBlock& block, const ChannelAffine& coefficients,
            Activation activation) {
  dispatch(dtype, activation, [&](auto t, auto relu) {
    using T = decltype(t);
    typed_affine(typed<T>(x), typed<T>(addend), typed<T>(y), block, coefficients, relu);
  });
}

void gradient_sums(DType dtype, const void* x, const void* dy, const ChannelBlock& block, const ChannelAffine& coefficients,
                   Activation activation, float* dy_sums, float* products) {
  dispatch(dtype, activation, [&](auto t, auto relu) {
    using T = decltype(t);
    typed_gradient_sums(typed<T>(x), typed<T>(dy), block, coefficients, relu, dy_sums, products);
  });
}

void gradient(DType dtype, const void* x, const void* dy, void* dx, const ChannelBlock& block, const ChannelAffine& coefficients,
              Activation activation, const float* slope, const float* shift) {
  dispatch(dtype, activation, [&](auto t, auto relu) {
    using T = decltype(t);
    typed_gradient(typed<T>(x), typed<T>(dy), typed<T>(dx), block, coefficients, relu, slope, shift);
  });
}

}  // namespace
}  // namespace minim::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace minim::cpu {

HWY_EXPORT(sums);
HWY_EXPORT(moments);
HWY_EXPORT(affine);
HWY_EXPORT(gradient_sums);
HWY_EXPORT(gradient);

void channel_sums(DType dtype, const void* x, const ChannelBlock& block, float* result) {
  HWY_DYNAMIC_DISPATCH(sums)(dtype, x, block, result);
}

void channel_moments(DType dtype, const void* x, const ChannelBlock& block, float* mean, float* squares) {
  HWY_DYNAMIC_DISPATCH(moments)(dtype, x, block, mean, squares);
}

void channel_affine(DType dtype, const void* x, const void* addend, void* y, const ChannelBlock& block,
                    const ChannelAffine& coefficients, Activation activation) {
  HWY_DYNAMIC_DISPATCH(affine)(dtype, x, addend, y, block, coefficients, activation);
}

void channel_gradient_sums(DType dtype, const void* x, const void* dy, const ChannelBlock& block,
                           const ChannelAffine& coefficients, Activation activation, float* dy_sums, float* products) {
  HWY_DYNAMIC_DISPATCH(gradient_sums)(dtype, x, dy, block, coefficients, activation, dy_sums, products);
}

void channel_gradient(DType dtype, const void* x, const void* dy, void* dx, const ChannelBlock& block,
                      const ChannelAffine& coefficients, Activation activation, const float* slope, const float* shift) {
  HWY_DYNAMIC_DISPATCH(gradient)(dtype, x, dy, dx, block, coefficients, activation, slope, shift);
}

}  // namespace minim::cpu
#endif  // HWY_ONCE
