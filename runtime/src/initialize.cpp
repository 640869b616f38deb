#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <string_view>

#include "minim/runtime/parameter.h"
#include "minim/runtime/philox.h"

namespace minim {
namespace {

/// FNV-1a, 64 bits: the same in every program, unlike std::hash.
std::uint64_t hash(std::string_view text) {
  std::uint64_t value = 0xCBF29CE484222325U;
  for (const char c : text) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001B3U;
  return value;
}

std::uint32_t low(std::uint64_t value) { return static_cast<std::uint32_t>(value); }
std::uint32_t high(std::uint64_t value) { return static_cast<std::uint32_t>(value >> 32U); }

/// Uniform in [0, 1), a multiple of 2^-53.
double uniform53(std::uint32_t upper, std::uint32_t lower) {
  return static_cast<double>(((std::uint64_t{upper} << 32U) | lower) >> 11U) * 0x1p-53;
}

/// Source: Box and Muller, "A note on the generation of random normal deviates", 1958.
double standard_normal(double u, double v) { return std::sqrt(-2.0 * std::log(1.0 - u)) * std::cos(2.0 * std::numbers::pi * v); }

}  // namespace

void initialize(const Initializer& initializer, std::uint64_t seed, const std::string& parameter, std::int64_t begin,
                std::span<float> out) {
  if (begin < 0) throw InvalidArgument("the first element of parameter \"" + parameter + "\" to fill is negative");
  if (initializer.kind == Initializer::Kind::constant) {
    std::ranges::fill(out, static_cast<float>(initializer.value));
    return;
  }
  const std::uint64_t stream = hash(parameter);
  auto element = static_cast<std::uint64_t>(begin);
  for (float& value : out) {
    const auto random = philox({low(element), high(element), low(stream), high(stream)}, {low(seed), high(seed)});
    const double u = uniform53(random[0], random[1]);
    const double v = uniform53(random[2], random[3]);
    const bool normal = initializer.kind == Initializer::Kind::normal;
    value = static_cast<float>(initializer.value * (normal ? standard_normal(u, v) : 2.0 * u - 1.0));
    ++element;
  }
}

}  // namespace minim
