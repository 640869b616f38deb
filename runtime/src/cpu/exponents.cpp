#include "minim/runtime/kernels/exponents.h"

#include "cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/exponents.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <atomic>

#include "cpu/lanes-inl.h"
#include "cpu/parallel.h"
#include "cpu/vector_kernels.h"

HWY_BEFORE_NAMESPACE();
namespace minim::cpu::HWY_NAMESPACE {
namespace {

/// Elements whose bins are computed before they are counted: a piece that stays in the L1 cache.
constexpr std::int64_t kPiece = 1024;
/// Neighbours often fall into the same bin: so many histograms in turn keep an increment from waiting for the one before.
constexpr int kHistograms = 4;

/// Bins of FP32 numbers, as CountExponents numbers them.
HWY_API VWords bins_of(VFloats v) {
  const VWords bits = hn::BitCast(kWords, v);
  const VWords exponent = hn::And(hn::ShiftRight<23>(bits), hn::Set(kWords, 0xFFU));
  const VWords mantissa = hn::And(bits, hn::Set(kWords, 0x7FFFFFU));
  const VWords power = hn::IfThenElseZero(hn::Eq(mantissa, hn::Zero(kWords)),
                                          hn::Set(kWords, static_cast<int>(Mantissa::power_of_two) * kExponents));
  // The mantissa of a NaN does not matter; that of an infinity is 0.
  const VWords counted = hn::IfThenElseZero(hn::Lt(exponent, hn::Set(kWords, 255U)), mantissa);
  const VWords up = hn::IfThenElseZero(hn::Gt(counted, hn::Set(kWords, 0x7FEFFFU)),
                                       hn::Set(kWords, static_cast<int>(Mantissa::rounds_up) * kExponents));
  return hn::Add(exponent, hn::Or(power, up));
}

template <class T>
void count_elements(const T* x, std::int64_t n, std::int64_t* counts) {
  constexpr std::size_t kBins = kMantissas * kExponents;
  std::array<std::array<std::uint32_t, kBins>, kHistograms> histograms{};
  std::array<std::uint32_t, kPiece + kHistograms> bins;
  for (std::int64_t begin = 0; begin < n; begin += kPiece) {
    const std::int64_t count = std::min(kPiece, n - begin);
    std::int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) hn::StoreU(bins_of(load(x + begin + i)), kWords, bins.data() + i);
    for (; i < count; ++i) {
      const auto bits = std::bit_cast<std::uint32_t>(to_float(x[begin + i]));
      bins[static_cast<std::size_t>(i)] =
          static_cast<std::uint32_t>(static_cast<int>(mantissa_of(bits)) * kExponents + exponent_of(bits));
    }
    for (i = 0; i + kHistograms <= count; i += kHistograms) {
      for (int h = 0; h < kHistograms; ++h) ++histograms[static_cast<std::size_t>(h)][bins[static_cast<std::size_t>(i + h)]];
    }
    for (; i < count; ++i) ++histograms[0][bins[static_cast<std::size_t>(i)]];
  }
  for (std::size_t bin = 0; bin < kBins; ++bin) {
    std::int64_t sum = 0;
    for (const auto& histogram : histograms) sum += histogram[bin];
    if (sum > 0) std::atomic_ref(counts[bin]).fetch_add(sum, std::memory_order_relaxed);
  }
}

void count_floats(const float* x, std::int64_t n, std::int64_t* counts) { count_elements(x, n, counts); }
void count_halves(const Half* x, std::int64_t n, std::int64_t* counts) { count_elements(x, n, counts); }
void count_bfloats(const BFloat16* x, std::int64_t n, std::int64_t* counts) { count_elements(x, n, counts); }

}  // namespace
}  // namespace minim::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace minim::cpu {
namespace {

HWY_EXPORT(count_floats);
HWY_EXPORT(count_halves);
HWY_EXPORT(count_bfloats);

void count_piece(const float* x, std::int64_t n, std::int64_t* counts) { HWY_DYNAMIC_DISPATCH(count_floats)(x, n, counts); }
void count_piece(const Half* x, std::int64_t n, std::int64_t* counts) { HWY_DYNAMIC_DISPATCH(count_halves)(x, n, counts); }
void count_piece(const BFloat16* x, std::int64_t n, std::int64_t* counts) { HWY_DYNAMIC_DISPATCH(count_bfloats)(x, n, counts); }

/// Elements of a piece at most: what is counted in 32 bits does not overflow.
constexpr std::int64_t kMostElements = std::int64_t{1} << 31;

void run_count_exponents(const CountExponents& args) {
  const Shape& shape = args.x.shape();
  std::int64_t elements = shape.elements();
  if (args.valid_samples.present()) {
    elements = std::clamp<std::int64_t>(*args.valid_samples.data<std::int32_t>(), 0, shape[0]) * shape.elements_per_sample();
  }
  auto* const counts = args.counts.data<std::int64_t>();
  dispatch_floating(args.x.dtype(), [&](auto type) {
    const auto* const x = args.x.data<decltype(type)>();
    parallel_for(elements, kElementsPerThread, [=](std::int64_t begin, std::int64_t end) {
      for (; begin < end; begin += kMostElements) count_piece(x + begin, std::min(kMostElements, end - begin), counts);
    });
  });
}

}  // namespace

void add_exponent_kernels(Backend& backend) {
  backend.add_kernel<CountExponents>(host_kernel<CountExponents>(run_count_exponents), kSet);
}

}  // namespace minim::cpu
#endif  // HWY_ONCE
