#pragma once

#include <string>
#include <vector>

#include "minim/runtime/tensor.h"

namespace minim {

/// How a parameter's elements lie in memory: physical dimension i is logical dimension `order[i]`. Empty: as the logical shape.
struct Layout {
  std::vector<int> order;
  /// Where not empty, `order` permutes the dimensions of this shape, which has the same elements, and the physical shape is the
  /// logical one: a matrix that multiplies flattened images, say, with columns that are channels, rows and columns of an image.
  Shape split;
  friend bool operator==(const Layout&, const Layout&) = default;
};

/// The shape that the elements have in memory.
Shape physical_shape(const Shape& logical, const Layout& layout);
/// Copies FP32 elements between logical and physical order; `from` and `to` have `logical.elements()` elements and do not
/// overlap.
void to_logical(const Shape& logical, const Layout& layout, std::span<const float> from, std::span<float> to);
void to_physical(const Shape& logical, const Layout& layout, std::span<const float> from, std::span<float> to);

/// What a parameter starts from.
struct Initializer {
  enum class Kind : std::uint8_t { constant, normal, uniform };
  Kind kind = Kind::constant;
  double value = 0;  ///< the constant, the standard deviation, or the largest magnitude

  friend bool operator==(const Initializer&, const Initializer&) = default;

  static Initializer constant(double value) { return {Kind::constant, value}; }
  static Initializer normal(double deviation) { return {Kind::normal, deviation}; }
  static Initializer uniform(double limit) { return {Kind::uniform, limit}; }
};

/// Fills logical elements [begin, begin + out.size()) of a parameter. Depends on nothing but its arguments: not on ranks or
/// threads.
void initialize(const Initializer& initializer, std::uint64_t seed, const std::string& parameter, std::int64_t begin,
                std::span<float> out);

/// A tensor that training updates. The model owns it; an optimizer places `weight` and `gradient` in its buckets.
struct Parameter {
  std::string name;  ///< unique in the model, "layer1.0.conv1.weight"
  Shape shape;       ///< logical; what initialisation, checkpoints, counts and norms see
  Layout layout;     ///< physical; what kernels see
  Initializer initializer;
  bool keep_fp32 = false;  ///< stored, reduced and gathered in FP32 whatever the precision (normalisation)
  bool decay = true;       ///< takes part in weight decay
  std::string group = "default";

  TensorView weight;    ///< physical shape, compute type; not present until placed
  TensorView gradient;  ///< as weight; S times the gradient of this rank's samples
};

/// What an operation carries from step to step without gradients: running statistics. Each rank has its own.
/// Forward of a training plan works on `pending`; a step that is applied commits it, a skipped one takes it back.
struct State {
  std::string name;  ///< unique in the model, "bn1.running_mean"
  Shape shape;
  double initial = 0;
  TensorView committed;  ///< fp32; what evaluation reads
  TensorView pending;    ///< fp32
};

}  // namespace minim
