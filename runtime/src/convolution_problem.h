#pragma once

#include <cstdint>

#include "minim/runtime/kernels/convolution.h"

namespace minim {

enum class ConvolutionPass : std::uint8_t { forward, backward_data, backward_weights };

/// Which convolution to compute, by shapes and types alone.
struct ConvolutionProblem {
  ConvolutionPass pass = ConvolutionPass::forward;
  DType storage = DType::fp32;
  Shape x;  ///< [N, H, W, C]
  Shape w;  ///< [O, KH, KW, C / groups]
  Shape y;  ///< [N, OH, OW, O]
  Conv2dGeometry geometry;
  bool has_bias = false;
  bool accumulate = false;  ///< weight gradients only

  std::int64_t samples() const { return x[0]; }
  /// No products at all: an image, a window or an output has no elements.
  bool empty() const { return x.elements() == 0 || w.elements() == 0 || y.elements() == 0; }

  friend bool operator==(const ConvolutionProblem&, const ConvolutionProblem&) = default;
};

inline ConvolutionProblem problem_of(const Conv2dForward& args) {
  return {.pass = ConvolutionPass::forward,
          .storage = args.x.dtype(),
          .x = args.x.shape(),
          .w = args.w.shape(),
          .y = args.y.shape(),
          .geometry = args.geometry,
          .has_bias = args.bias.present()};
}

inline ConvolutionProblem problem_of(const Conv2dBackwardData& args) {
  return {.pass = ConvolutionPass::backward_data,
          .storage = args.dy.dtype(),
          .x = args.dx.shape(),
          .w = args.w.shape(),
          .y = args.dy.shape(),
          .geometry = args.geometry};
}

inline ConvolutionProblem problem_of(const Conv2dBackwardWeights& args) {
  return {.pass = ConvolutionPass::backward_weights,
          .storage = args.x.dtype(),
          .x = args.x.shape(),
          .w = args.dw.shape(),
          .y = args.dy.shape(),
          .geometry = args.geometry,
          .has_bias = args.dbias.present(),
          .accumulate = args.accumulate};
}

}  // namespace minim
