#pragma once

#include <string_view>

#include "minim/runtime/dtype.h"

namespace minim {

/// How a run stores and updates its numbers. Source: Micikevicius et al., arXiv:1710.03740, section 3.
enum class Precision : std::uint8_t {
  fp32,   ///< everything FP32: the baseline
  mixed,  ///< weights, activations, gradients FP16; FP32 master weights; loss scaling
  fp16,   ///< as mixed, but the update is applied to the FP16 weights: the paper's ablation
  bf16,   ///< as mixed with bfloat16 and a loss scale of 1
};

std::string_view name(Precision precision);
/// Throws InvalidArgument that lists the choices.
Precision parse_precision(std::string_view text);

/// Element type of weights, activations and gradients.
constexpr DType compute_dtype(Precision precision) {
  switch (precision) {
    case Precision::fp32: return DType::fp32;
    case Precision::mixed:
    case Precision::fp16: return DType::fp16;
    case Precision::bf16: return DType::bf16;
  }
  return DType::fp32;
}

/// Whether FP32 copies of the low-precision weights take the update.
constexpr bool has_master_weights(Precision precision) {
  return precision == Precision::mixed || precision == Precision::bf16;
}

}  // namespace minim
