#include "onednn/rounding.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "cpu/parallel.h"
#include "cpu/relu.h"
#include "minim/runtime/simd.h"

namespace minim::onednn {
namespace {

constexpr std::int64_t kBlock = 1024;  // elements; a block in FP32 stays in the L1 cache

template <class T>
void add_old(const T* old, std::span<float> sum) {
  std::array<float, kBlock> block{};
  const auto n = static_cast<std::int64_t>(sum.size());
  for (std::int64_t begin = 0; begin < n; begin += kBlock) {
    const std::int64_t size = std::min(kBlock, n - begin);
    simd::to_float(old + begin, block.data(), size);
    simd::add(block.data(), sum.data() + begin, size);
  }
}

}  // namespace

void store_rounded(std::span<float> sum, TensorView out, bool accumulate) {
  if (accumulate) dispatch_floating(out.dtype(), [&](auto t) { add_old(out.data<decltype(t)>(), sum); });
  if (out.raw() == sum.data()) return;
  simd::convert(ConstTensorView(sum.data(), DType::fp32, Shape{static_cast<std::int64_t>(sum.size())}),
                TensorView(out.raw(), out.dtype(), Shape{out.elements()}));
}

void activate(TensorView values, Activation activation) {
  if (activation == Activation::none) return;
  dispatch_floating(values.dtype(), [&](auto t) {
    auto* const data = values.data<decltype(t)>();
    cpu::parallel_for(values.elements(), cpu::kElementsPerThread, [=](std::int64_t begin, std::int64_t end) {
      cpu::relu_forward(kDType<decltype(t)>, data + begin, data + begin, end - begin);
    });
  });
}

void fill_zero(TensorView out) {
  if (out.elements() > 0) std::memset(out.raw(), 0, static_cast<std::size_t>(out.size_bytes()));
}

}  // namespace minim::onednn
