#pragma once

#include <array>
#include <string>
#include <vector>

#include "minim/runtime/tensor.h"
#include "onednn/primitive.h"
#include "product_problem.h"
#include "workspace.h"

namespace minim::onednn {

/// How one dimension is cut into tiles: all of `size`, but for the last, which may be smaller.
struct Tiling {
  std::int64_t extent = 0, size = 0;

  std::int64_t count() const { return size == 0 ? 0 : (extent + size - 1) / size; }
  std::int64_t begin(std::int64_t i) const { return i * size; }
  std::int64_t size_of(std::int64_t i) const { return i + 1 < count() ? size : extent - begin(i); }
};

/// One tile's product, c += a b; the first along k starts from the bias instead.
struct TileProduct {
  std::array<std::int64_t, 3> size{};  ///< m, n, k
  bool first = true;
  dnnl::primitive_desc_base primitive;
};

/// A product is computed tile by tile. Tiles of a and b in the primitive's own type are used where they lie; others are converted
/// into scratch, where they and the FP32 sums of c stay in the L2 cache, and a finished tile of c is rounded into place. So
/// scratch does not grow with the layer, weights are converted once for up to `kTile` rows, and FP32 sums span all of k.
struct ProductPlan {
  DType compute = DType::fp32;  ///< of a and b; c and bias are FP32
  Tiling m, n, k;
  bool ab_in_place = false, c_in_place = false;
  std::vector<TileProduct> tiles;
  Region a, b, c, bias, scratchpad;
  std::int64_t workspace_bytes = 0;
};

/// A plan for streams of `threads` OpenMP threads. m, n and k are positive.
ProductPlan plan_product(const ProductProblem& problem, int threads);

/// A product bound to its matrices: c = activation(a b + bias). `bias` may be absent.
class Product {
 public:
  Product(const ProductProblem& problem, const ProductPlan& plan, ConstTensorView a, ConstTensorView b, ConstTensorView bias,
          Activation activation, TensorView c, TensorView workspace);
  void run();

 private:
  /// A row-major matrix and the scratch that its tiles are converted into; null: used where it lies.
  struct Operand {
    ConstTensorView matrix;
    std::int64_t columns;
    float* scratch;
  };
  struct BoundTile {
    std::array<std::int64_t, 3> size;
    bool first;
    BoundPrimitive primitive;
  };

  BoundPrimitive& tile(std::int64_t m, std::int64_t n, std::int64_t k, bool first);
  const void* load(const Operand& operand, std::int64_t row, std::int64_t column, std::int64_t rows, std::int64_t columns) const;
  void multiply(std::int64_t i, std::int64_t j);
  void store(std::int64_t i, std::int64_t j) const;
  float* sums(std::int64_t i, std::int64_t j) const;

  ProductProblem problem_;
  Activation activation_;
  Tiling m_, n_, k_;
  Operand a_, b_;
  TensorView c_, bias_scratch_;
  ConstTensorView bias_;
  float* c_scratch_;
  std::vector<BoundTile> tiles_;
};

}  // namespace minim::onednn
