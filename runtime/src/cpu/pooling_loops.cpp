#include "cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/pooling_loops.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "cpu/lanes-inl.h"
#include "cpu/pooling_loops.h"

HWY_BEFORE_NAMESPACE();
namespace minim::cpu::HWY_NAMESPACE {
namespace {

using Positions = hn::RebindToSigned<Floats>;    // positions in a window, 32-bit lanes
using Bytes = hn::Rebind<std::uint8_t, Floats>;  // as stored
constexpr Positions kPositions{};
constexpr Bytes kBytes{};
using VPositions = hn::Vec<Positions>;

HWY_API VPositions load_positions(AllLanes /*lanes*/, const std::uint8_t* p) {
  return hn::PromoteTo(kPositions, hn::LoadU(kBytes, p));
}
HWY_API VPositions load_positions(FirstLanes lanes, const std::uint8_t* p) {
  std::uint8_t buffer[kLanes] = {};
  std::memcpy(buffer, p, static_cast<std::size_t>(lanes.count));
  return load_positions(AllLanes{}, buffer);
}
HWY_API void store_positions(AllLanes /*lanes*/, VPositions v, std::uint8_t* p) {
  hn::StoreU(hn::DemoteTo(kBytes, v), kBytes, p);
}
HWY_API void store_positions(FirstLanes lanes, VPositions v, std::uint8_t* p) {
  std::uint8_t buffer[kLanes];
  store_positions(AllLanes{}, v, buffer);
  std::memcpy(p, buffer, static_cast<std::size_t>(lanes.count));
}

/// The largest value so far and where it was seen first; NaN is larger than all.
struct Winner {
  VFloats value;
  VPositions position;

  HWY_INLINE void challenge(VFloats v, std::int64_t at) {
    // Neither v <= value nor a NaN that has won: v is larger or the first NaN.
    const auto wins = hn::AndNot(hn::IsNaN(value), hn::Not(hn::Le(v, value)));
    value = hn::IfThenElse(wins, v, value);
    position = hn::IfThenElse(hn::RebindMask(kPositions, wins), hn::Set(kPositions, static_cast<std::int32_t>(at)), position);
  }
};

template <class T>
void typed_max(const Pooling& pooling, const T* x, std::int64_t oh, T* y, std::uint8_t* argmax) {
  const PoolAxis rows = pooling.axes.rows;
  const PoolAxis columns = pooling.axes.columns;
  const std::int64_t channels = pooling.channels;
  const Extent h_range = rows.inside(oh);
  for (std::int64_t ow = 0; ow < columns.output; ++ow) {
    const Extent w_range = columns.inside(ow);
    for_lanes(0, channels, [&](auto lanes, std::int64_t c) {
      const auto value = [&](std::int64_t h, std::int64_t w) { return load(lanes, x + (h * columns.size + w) * channels + c); };
      const auto position = [&](std::int64_t h, std::int64_t w) {
        return rows.position(h, oh) * columns.window + columns.position(w, ow);
      };
      const auto first = static_cast<std::int32_t>(position(h_range.begin, w_range.begin));
      Winner winner{value(h_range.begin, w_range.begin), hn::Set(kPositions, first)};
      for (std::int64_t h = h_range.begin; h < h_range.end; ++h) {
        for (std::int64_t w = w_range.begin; w < w_range.end; ++w) winner.challenge(value(h, w), position(h, w));
      }
      store(lanes, winner.value, y + ow * channels + c);
      if (argmax != nullptr) store_positions(lanes, winner.position, argmax + ow * channels + c);
    });
  }
}

/// Sums `term(lanes, oh, ow, offset of the channel in dy)` over the windows that cover each position of image row h.
template <class T, class Term>
HWY_API void for_covered(const Pooling& pooling, std::int64_t h, T* dx, const Term& term) {
  const PoolAxis columns = pooling.axes.columns;
  const std::int64_t channels = pooling.channels;
  const Extent oh_range = pooling.axes.rows.covering(h);
  for (std::int64_t w = 0; w < columns.size; ++w) {
    const Extent ow_range = columns.covering(w);
    for_lanes(0, channels, [&](auto lanes, std::int64_t c) {
      VFloats sum = hn::Zero(kFloats);
      for (std::int64_t oh = oh_range.begin; oh < oh_range.end; ++oh) {
        for (std::int64_t ow = ow_range.begin; ow < ow_range.end; ++ow) {
          sum = hn::Add(sum, term(lanes, w, oh, ow, (oh * columns.output + ow) * channels + c));
        }
      }
      store(lanes, sum, dx + w * channels + c);
    });
  }
}

template <class T>
void typed_max_gradient(const Pooling& pooling, const T* dy, const std::uint8_t* argmax, std::int64_t h, T* dx) {
  const PoolAxis rows = pooling.axes.rows;
  const PoolAxis columns = pooling.axes.columns;
  for_covered(pooling, h, dx, [&](auto lanes, std::int64_t w, std::int64_t oh, std::int64_t ow, std::int64_t offset) {
    const auto position = static_cast<std::int32_t>(rows.position(h, oh) * columns.window + columns.position(w, ow));
    const auto won = hn::Eq(load_positions(lanes, argmax + offset), hn::Set(kPositions, position));
    return hn::IfThenElseZero(hn::RebindMask(kFloats, won), opaque(load(lanes, dy + offset)));
  });
}

template <class T>
void typed_average(const Pooling& pooling, const T* x, std::int64_t oh, T* y) {
  const PoolAxis columns = pooling.axes.columns;
  const std::int64_t channels = pooling.channels;
  const Extent h_range = pooling.axes.rows.inside(oh);
  for (std::int64_t ow = 0; ow < columns.output; ++ow) {
    const Extent w_range = columns.inside(ow);
    const VFloats divisor = hn::Set(kFloats, pooling.axes.divisor(oh, ow));
    for_lanes(0, channels, [&](auto lanes, std::int64_t c) {
      VFloats sum = hn::Zero(kFloats);
      for (std::int64_t h = h_range.begin; h < h_range.end; ++h) {
        for (std::int64_t w = w_range.begin; w < w_range.end; ++w) {
          sum = hn::Add(sum, load(lanes, x + (h * columns.size + w) * channels + c));
        }
      }
      store(lanes, hn::Div(sum, divisor), y + ow * channels + c);
    });
  }
}

template <class T>
void typed_average_gradient(const Pooling& pooling, const T* dy, std::int64_t h, T* dx) {
  for_covered(pooling, h, dx, [&](auto lanes, std::int64_t /*w*/, std::int64_t oh, std::int64_t ow, std::int64_t offset) {
    return hn::Div(load(lanes, dy + offset), hn::Set(kFloats, pooling.axes.divisor(oh, ow)));
  });
}

void max_row(const Pooling& pooling, const void* x, std::int64_t oh, void* y, std::uint8_t* argmax) {
  dispatch_floating(pooling.dtype, [&](auto t) {
    using T = decltype(t);
    typed_max(pooling, static_cast<const T*>(x), oh, static_cast<T*>(y), argmax);
  });
}

void max_gradient_row(const Pooling& pooling, const void* dy, const std::uint8_t* argmax, std::int64_t h, void* dx) {
  dispatch_floating(pooling.dtype, [&](auto t) {
    using T = decltype(t);
    typed_max_gradient(pooling, static_cast<const T*>(dy), argmax, h, static_cast<T*>(dx));
  });
}

void average_row(const Pooling& pooling, const void* x, std::int64_t oh, void* y) {
  dispatch_floating(pooling.dtype, [&](auto t) {
    using T = decltype(t);
    typed_average(pooling, static_cast<const T*>(x), oh, static_cast<T*>(y));
  });
}

void average_gradient_row(const Pooling& pooling, const void* dy, std::int64_t h, void* dx) {
  dispatch_floating(pooling.dtype, [&](auto t) {
    using T = decltype(t);
    typed_average_gradient(pooling, static_cast<const T*>(dy), h, static_cast<T*>(dx));
  });
}

}  // namespace
}  // namespace minim::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace minim::cpu {

HWY_EXPORT(max_row);
HWY_EXPORT(max_gradient_row);
HWY_EXPORT(average_row);
HWY_EXPORT(average_gradient_row);

void max_pool_row(const Pooling& pooling, const void* x, std::int64_t oh, void* y, std::uint8_t* argmax_row) {
  HWY_DYNAMIC_DISPATCH(max_row)(pooling, x, oh, y, argmax_row);
}

void max_pool_gradient_row(const Pooling& pooling, const void* dy, const std::uint8_t* argmax, std::int64_t h, void* dx) {
  HWY_DYNAMIC_DISPATCH(max_gradient_row)(pooling, dy, argmax, h, dx);
}

void average_pool_row(const Pooling& pooling, const void* x, std::int64_t oh, void* y) {
  HWY_DYNAMIC_DISPATCH(average_row)(pooling, x, oh, y);
}

void average_pool_gradient_row(const Pooling& pooling, const void* dy, std::int64_t h, void* dx) {
  HWY_DYNAMIC_DISPATCH(average_gradient_row)(pooling, dy, h, dx);
}

}  // namespace minim::cpu
#endif  // HWY_ONCE
