#pragma once

#include <cstdint>

#include "minim/runtime/tensor.h"

namespace minim {

/// A function of each element.
struct Nonlinearity {
  enum class Kind : std::uint8_t {
    leaky_relu,  ///< x where x > 0, else slope * x
    sigmoid,     ///< 1 / (1 + e^-x)
    tanh,
    /// x Phi(x), with Phi(x) = (1 + erf(x / sqrt(2))) / 2 of the normal distribution: exact, not the form by tanh. Its limits are
    /// its values at infinity. Source: Hendrycks and Gimpel, "Gaussian error linear units", arXiv:1606.08415.
    gelu,
  };

  Kind kind = Kind::leaky_relu;
  double slope = 0.01;  ///< of leaky_relu, more than 0

  /// Whether its derivative is found from x; else from y, also where that was rounded.
  bool derives_from_input() const { return kind == Kind::gelu; }

  friend bool operator==(const Nonlinearity&, const Nonlinearity&) = default;
};

/// y = function(x), computed in FP32, rounded once. NaN stays NaN. y may be x itself.
struct NonlinearityForward {
  ConstTensorView x;
  TensorView y;  ///< as x
  Nonlinearity function;
};

/// dx = dy * function'(x), computed in FP32, rounded once. dx may be dy itself.
struct NonlinearityBackward {
  ConstTensorView value;  ///< of forward: x where the function derives from its input, else y
  ConstTensorView dy;     ///< as value
  TensorView dx;          ///< as value
  Nonlinearity function;
};

}  // namespace minim
