#include "minim/runtime/precision.h"

#include <fmt/format.h>

#include <array>

namespace minim {

std::string_view name(Precision precision) {
  switch (precision) {
    case Precision::fp32: return "fp32";
    case Precision::mixed: return "mixed";
    case Precision::fp16: return "fp16";
    case Precision::bf16: return "bf16";
  }
  return "unknown precision";
}

Precision parse_precision(std::string_view text) {
  for (const Precision precision : std::array{Precision::fp32, Precision::mixed, Precision::fp16, Precision::bf16}) {
    if (name(precision) == text) return precision;
  }
  throw InvalidArgument(fmt::format("precision \"{}\": fp32, mixed, fp16 or bf16 is wanted", text));
}

}  // namespace minim
