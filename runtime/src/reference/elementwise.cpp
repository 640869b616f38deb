#include <algorithm>
#include <array>
#include <cmath>

#include "minim/runtime/philox.h"
#include "reference/elements.h"
#include "reference/kernels.h"

namespace minim::reference {
namespace {

const std::byte* bytes(const ConstTensorView& view) { return static_cast<const std::byte*>(view.raw()); }
std::byte* bytes(const TensorView& view) { return static_cast<std::byte*>(view.raw()); }

std::int64_t rows(const ConstTensorView& view, std::int64_t channels) { return channels == 0 ? 0 : view.elements() / channels; }

std::uint32_t low(std::uint64_t value) { return static_cast<std::uint32_t>(value); }
std::uint32_t high(std::uint64_t value) { return static_cast<std::uint32_t>(value >> 32U); }

float draw(const RandomKey& key, std::int64_t sample, std::int64_t element) {
  const auto step = static_cast<std::uint64_t>(*key.attempted_step.data<std::int64_t>());
  const auto id = static_cast<std::uint64_t>(key.sample_ids.data<std::int64_t>()[sample]);
  const auto e = static_cast<std::uint64_t>(element);
  const auto words = philox({low(e / 4), low(step), low(id), high(id)}, {low(key.seed) ^ key.operation, high(key.seed)});
  return uniform(words[e % 4]);
}

void drop(const ConstTensorView& from, const TensorView& to, double rate, const RandomKey& key) {
  const Input in(from);
  const Output out(to);
  const std::int64_t per_sample = from.shape().elements_per_sample();
  for (std::int64_t n = 0; n < from.shape()[0]; ++n) {
    for (std::int64_t e = 0; e < per_sample; ++e) {
      const std::int64_t i = n * per_sample + e;
      out.store(i, draw(key, n, e) >= rate ? in[i] / (1 - rate) : 0);
    }
  }
}

}  // namespace

void run(const ReluForward& args) {
  const Input x(args.x);
  const Output y(args.y);
  for (std::int64_t i = 0; i < args.x.elements(); ++i) y.store(i, x[i] > 0 || std::isnan(x[i]) ? x[i] : 0);
}

void run(const ReluBackward& args) {
  const Input y(args.y), dy(args.dy);
  const Output dx(args.dx);
  for (std::int64_t i = 0; i < args.y.elements(); ++i) dx.store(i, y[i] > 0 ? dy[i] : 0);
}

void run(const Sum& args) {
  const Output y(args.y);
  for (std::int64_t i = 0; i < args.y.elements(); ++i) {
    float sum = Input(args.inputs[0])[i];
    for (std::size_t k = 1; k < args.inputs.size(); ++k) sum += Input(args.inputs[k])[i];
    y.store(i, !args.mask.present() || Input(args.mask)[i] > 0 ? sum : 0);
  }
}

void run(const Cast& args) {
  if (args.x.dtype() == DType::int32 || args.x.dtype() == DType::int64) {
    if (args.y.dtype() != args.x.dtype()) throw InvalidArgument("a cast between integers and other types has no kernel");
    std::copy_n(bytes(args.x), args.x.size_bytes(), bytes(args.y));
    return;
  }
  const Input x(args.x);
  const Output y(args.y);
  for (std::int64_t i = 0; i < args.x.elements(); ++i) y.store(i, x[i]);
}

void run(const Zero& args) { std::fill_n(bytes(args.y), args.y.size_bytes(), std::byte{0}); }

void run(const ConcatForward& args) {
  const std::int64_t row_bytes = args.y.shape()[-1] * size_bytes(args.y.dtype());
  std::int64_t offset_bytes = 0;
  for (const ConstTensorView& x : args.inputs) {
    const std::int64_t part_bytes = x.shape()[-1] * size_bytes(x.dtype());
    for (std::int64_t row = 0; row < rows(x, x.shape()[-1]); ++row) {
      std::copy_n(bytes(x) + row * part_bytes, part_bytes, bytes(args.y) + row * row_bytes + offset_bytes);
    }
    offset_bytes += part_bytes;
  }
}

void run(const ConcatBackward& args) {
  const std::int64_t row_bytes = args.dy.shape()[-1] * size_bytes(args.dy.dtype());
  std::int64_t offset_bytes = 0;
  for (std::size_t k = 0; k < args.outputs.size(); ++k) {
    const std::int64_t part_bytes = args.channels[k] * size_bytes(args.dy.dtype());
    const std::int64_t wanted_rows = args.outputs[k].present() ? rows(args.dy, args.dy.shape()[-1]) : 0;
    for (std::int64_t row = 0; row < wanted_rows; ++row) {
      std::copy_n(bytes(args.dy) + row * row_bytes + offset_bytes, part_bytes, bytes(args.outputs[k]) + row * part_bytes);
    }
    offset_bytes += part_bytes;
  }
}

void run(const DropoutForward& args) { drop(args.x, args.y, args.rate, args.random); }
void run(const DropoutBackward& args) { drop(args.dy, args.dx, args.rate, args.random); }

}  // namespace minim::reference
