#include "cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/dropout.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>

#include "cpu/dropout.h"
#include "cpu/lanes-inl.h"
#include "cpu/parallel.h"
#include "cpu/vector_kernels.h"
#include "minim/runtime/kernels/elementwise.h"
#include "minim/runtime/philox.h"

HWY_BEFORE_NAMESPACE();
namespace minim::cpu::HWY_NAMESPACE {
namespace {

#if HWY_TARGET == HWY_SCALAR

/// The words of counter block `block`, in order.
HWY_API void draw(const PhiloxStream& stream, std::uint32_t block, std::uint32_t* words) {
  const auto drawn = philox({block, stream.counter[0], stream.counter[1], stream.counter[2]}, stream.key);
  std::copy(drawn.begin(), drawn.end(), words);
}

#else

struct Product {
  VWords high;
  VWords low;
};

HWY_API Product multiply(VWords a, VWords b) {
  const hn::Repartition<std::uint64_t, Words> wide;
  const auto even = hn::MulEven(a, b);
  const auto odd = hn::MulEven(hn::BitCast(kWords, hn::ShiftRight<32>(hn::BitCast(wide, a))), b);
  return {hn::OddEven(hn::BitCast(kWords, odd), hn::BitCast(kWords, hn::ShiftRight<32>(even))),
          hn::OddEven(hn::BitCast(kWords, hn::ShiftLeft<32>(odd)), hn::BitCast(kWords, even))};
}

/// The words of counter blocks `block` to `block + kLanes - 1`, in order: `philox()` with a block in each lane.
HWY_API void draw(const PhiloxStream& stream, std::uint32_t block, std::uint32_t* words) {
  VWords c0 = hn::Iota(kWords, block);
  VWords c1 = hn::Set(kWords, stream.counter[0]);
  VWords c2 = hn::Set(kWords, stream.counter[1]);
  VWords c3 = hn::Set(kWords, stream.counter[2]);
  VWords k0 = hn::Set(kWords, stream.key[0]);
  VWords k1 = hn::Set(kWords, stream.key[1]);
  for (int round = 0; round < 10; ++round) {
    const Product a = multiply(c0, hn::Set(kWords, 0xD2511F53U));
    const Product b = multiply(c2, hn::Set(kWords, 0xCD9E8D57U));
    c0 = hn::Xor(hn::Xor(b.high, c1), k0);
    c1 = b.low;
    c2 = hn::Xor(hn::Xor(a.high, c3), k1);
    c3 = a.low;
    k0 = hn::Add(k0, hn::Set(kWords, 0x9E3779B9U));
    k1 = hn::Add(k1, hn::Set(kWords, 0xBB67AE85U));
  }
  hn::StoreInterleaved4(c0, c1, c2, c3, kWords, words);
}

#endif

template <class T>
void typed_drop(const T* from, T* to, std::int64_t n, const PhiloxStream& stream, std::int64_t first, DropoutRate rate) {
  constexpr std::int64_t kWordsPerDraw = 4 * kLanes;
  HWY_ALIGN std::uint32_t words[kDropoutChunk];
  static_assert(kDropoutChunk % kWordsPerDraw == 0);
  for (std::int64_t i = 0; i < n; i += kWordsPerDraw) draw(stream, static_cast<std::uint32_t>((first + i) / 4), words + i);
  const VFloats threshold = hn::Set(kFloats, rate.threshold);
  const VFloats factor = hn::Set(kFloats, rate.factor);
  for_lanes(0, n, [&, from, to](auto lanes, std::int64_t i) {
    const VWords drawn = hn::ShiftRight<8>(hn::Load(kWords, words + i));
    const auto kept = hn::Ge(hn::ConvertTo(kFloats, hn::BitCast(hn::RebindToSigned<Words>(), drawn)), threshold);
    store(lanes, hn::IfThenElseZero(kept, opaque(hn::Mul(load(lanes, from + i), factor))), to + i);
  });
}

void drop(DType dtype, const void* from, void* to, std::int64_t n, const PhiloxStream& stream, std::int64_t first,
          DropoutRate rate) {
  dispatch_floating(dtype, [&](auto t) {
    using T = decltype(t);
    typed_drop(static_cast<const T*>(from), static_cast<T*>(to), n, stream, first, rate);
  });
}

}  // namespace
}  // namespace minim::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace minim::cpu {
namespace {

HWY_EXPORT(drop);

std::uint32_t low(std::uint64_t value) { return static_cast<std::uint32_t>(value); }
std::uint32_t high(std::uint64_t value) { return static_cast<std::uint32_t>(value >> 32U); }

void drop_tensor(const ConstTensorView& from, const TensorView& to, double rate, const RandomKey& key) {
  if (from.elements() == 0) return;
  const std::int64_t per_sample = from.shape().elements_per_sample();
  const std::int64_t chunks = (per_sample + kDropoutChunk - 1) / kDropoutChunk;
  const auto* ids = key.sample_ids.data<std::int64_t>();
  const auto step = static_cast<std::uint64_t>(*key.attempted_step.data<std::int64_t>());
  // A word w draws w >> 8 of 2^24, so it is kept where that is at least rate 2^24, rounded up.
  const DropoutRate dropout{.threshold = static_cast<float>(std::ceil(rate * 0x1p24)),
                            .factor = static_cast<float>(1 / (1 - rate))};
  const std::int64_t width_bytes = size_bytes(from.dtype());
  const auto* source = static_cast<const std::byte*>(from.raw());
  auto* destination = static_cast<std::byte*>(to.raw());
  const std::int64_t grain = kElementsPerThread / 4 / std::min(per_sample, kDropoutChunk) + 1;
  parallel_for(from.shape()[0] * chunks, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t sample = i / chunks;
      const std::int64_t first = i % chunks * kDropoutChunk;
      const auto id = static_cast<std::uint64_t>(ids[sample]);
      const PhiloxStream stream{.counter = {low(step), low(id), high(id)},
                                .key = {low(key.seed) ^ key.operation, high(key.seed)}};
      const std::int64_t offset_bytes = (sample * per_sample + first) * width_bytes;
      HWY_DYNAMIC_DISPATCH(drop)
      (from.dtype(), source + offset_bytes, destination + offset_bytes, std::min(kDropoutChunk, per_sample - first), stream,
       first, dropout);
    }
  });
}

void run_forward(const DropoutForward& args) { drop_tensor(args.x, args.y, args.rate, args.random); }
void run_backward(const DropoutBackward& args) { drop_tensor(args.dy, args.dx, args.rate, args.random); }

}  // namespace

void add_dropout_kernels(Backend& backend) {
  backend.add_kernel<DropoutForward>(host_kernel<DropoutForward>(run_forward), kSet);
  backend.add_kernel<DropoutBackward>(host_kernel<DropoutBackward>(run_backward), kSet);
}

}  // namespace minim::cpu
#endif  // HWY_ONCE
