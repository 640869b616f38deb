#include "onednn/matrix_product.h"

#include <algorithm>
#include <array>

#include "cpu/parallel.h"
#include "cpu/relu.h"
#include "minim/runtime/simd.h"

namespace minim::onednn {
namespace {

using dnnl::memory;

/// Rows and columns of a tile of c. A tile of 256 x 256 x 256 multiplies 128 times as long as it converts.
constexpr std::int64_t kTile = 256;
/// The tiles of a, b and c together in FP32: they are to stay in 1 MiB of L2 beside the primitive's own scratch.
constexpr std::int64_t kTileElements = 768 * 1024 / size_bytes(DType::fp32);
/// Tiles end on a multiple of the widest vector.
constexpr std::int64_t kGranularity = 16;

Tiling cut(std::int64_t extent, std::int64_t largest) {
  const std::int64_t tiles = (extent + largest - 1) / largest;
  return {.extent = extent, .size = tiles == 1 ? extent : round_up((extent + tiles - 1) / tiles, kGranularity)};
}

/// A tile of a matrix whose rows, as stored, are `stride` elements apart.
memory::desc tile_layout(std::int64_t rows, std::int64_t columns, memory::data_type type, bool transposed, std::int64_t stride) {
  return {{rows, columns}, type, transposed ? memory::dims{1, stride} : memory::dims{stride, 1}};
}

dnnl::primitive_desc_base describe(const ProductProblem& problem, const ProductPlan& plan, std::array<std::int64_t, 3> size,
                                   bool first) {
  const auto [m, n, k] = size;
  const auto fp32 = memory::data_type::f32, type = data_type(plan.compute);
  const bool at = problem.a_transposed, bt = problem.b_transposed;
  const std::int64_t a_stride = plan.ab_in_place ? (at ? problem.m : problem.k) : (at ? m : k);
  const std::int64_t b_stride = plan.ab_in_place ? (bt ? problem.k : problem.n) : (bt ? k : n);
  const auto a = tile_layout(m, k, type, at, a_stride), b = tile_layout(k, n, type, bt, b_stride);
  const auto c = tile_layout(m, n, fp32, false, plan.c_in_place ? problem.n : n);
  auto attributes = user_scratchpad();
  if (!first || (problem.accumulate && plan.c_in_place)) {
    dnnl::post_ops add;
    add.append_sum(1.0F);
    attributes.set_post_ops(add);
  }
  if (first && problem.has_bias) {
    return dnnl::matmul::primitive_desc({a, b, tile_layout(1, n, fp32, false, n), c}, attributes, engine());
  }
  return dnnl::matmul::primitive_desc({a, b, c}, attributes, engine());
}

/// The sizes that a dimension's tiles have: one or two.
std::vector<std::int64_t> sizes(const Tiling& tiling) {
  std::vector<std::int64_t> sizes{tiling.size_of(0)};
  if (const auto last = tiling.size_of(tiling.count() - 1); last != sizes.front()) sizes.push_back(last);
  return sizes;
}

void describe_tiles(const ProductProblem& problem, ProductPlan& plan) {
  const auto add = [&](std::array<std::int64_t, 3> size, bool first) {
    plan.tiles.push_back({.size = size, .first = first, .primitive = describe(problem, plan, size, first)});
  };
  for (const auto m : sizes(plan.m)) {
    for (const auto n : sizes(plan.n)) {
      add({m, n, plan.k.size_of(0)}, true);
      if (plan.k.count() > 2) add({m, n, plan.k.size}, false);
      if (plan.k.count() > 1) add({m, n, plan.k.size_of(plan.k.count() - 1)}, false);
    }
  }
}

void lay_out(const ProductProblem& problem, ProductPlan& plan) {
  const std::int64_t m = plan.m.size, n = plan.n.size, k = plan.k.size;
  WorkspaceLayout workspace;
  if (!plan.ab_in_place) {
    plan.a = workspace.add(m * k * size_bytes(plan.compute));
    plan.b = workspace.add(k * n * size_bytes(plan.compute));
  }
  if (!plan.c_in_place) plan.c = workspace.add(m * n * size_bytes(DType::fp32));
  if (problem.has_bias && problem.storage != DType::fp32) plan.bias = workspace.add(problem.n * size_bytes(DType::fp32));
  std::int64_t most_bytes = 0;
  for (const TileProduct& tile : plan.tiles) most_bytes = std::max(most_bytes, scratchpad_bytes(tile.primitive));
  plan.scratchpad = workspace.add(most_bytes);
  plan.workspace_bytes = workspace.size_bytes();
}

/// Calls `f(row)` for each row of a tile.
template <class F>
void for_rows(std::int64_t rows, std::int64_t columns, const F& f) {
  const std::int64_t grain = std::max<std::int64_t>(cpu::kElementsPerThread / columns, 1);
  cpu::parallel_for(rows, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) f(row);
  });
}

/// Converts a tile, its rows `stride` elements apart, into a compact one.
template <class T>
void load_rows(const T* from, std::int64_t stride, float* to, std::int64_t rows, std::int64_t columns) {
  if (columns == stride) return simd::convert({from, kDType<T>, Shape{rows * columns}}, {to, DType::fp32, Shape{rows * columns}});
  for_rows(rows, columns, [=](std::int64_t row) { simd::to_float(from + row * stride, to + row * columns, columns); });
}

/// Rounds a compact tile of FP32 sums into rows of c, or adds it to them.
template <class T>
void store_rows(float* from, T* to, std::int64_t stride, std::int64_t rows, std::int64_t columns, bool accumulate) {
  if (columns == stride && !accumulate) {
    return simd::convert({from, DType::fp32, Shape{rows * columns}}, {to, kDType<T>, Shape{rows * columns}});
  }
  for_rows(rows, columns, [=](std::int64_t row) {
    float* sums = from + row * columns;
    if (accumulate) {
      std::array<float, kTile> old;
      simd::to_float(to + row * stride, old.data(), columns);
      simd::add(old.data(), sums, columns);
    }
    simd::from_float(sums, to + row * stride, columns);
  });
}

/// tile = activation(tile), its rows `stride` elements apart. On a finished tile in the L2 cache: the ReLU that oneDNN can put
/// into a primitive makes NaN 0.
template <class T>
void activate_rows(T* tile, std::int64_t stride, std::int64_t rows, std::int64_t columns, Activation activation) {
  if (activation == Activation::none) return;
  for_rows(rows, columns,
           [=](std::int64_t row) { cpu::relu_forward(kDType<T>, tile + row * stride, tile + row * stride, columns); });
}

}  // namespace

ProductPlan plan_product(const ProductProblem& problem, int threads) {
  const ThreadScope scope(threads);
  ProductPlan plan;
  plan.compute = compute_dtype(problem.storage);
  plan.ab_in_place = problem.storage == plan.compute;
  plan.c_in_place = problem.storage == DType::fp32;
  plan.m = cut(problem.m, kTile);
  plan.n = cut(problem.n, kTile);
  plan.k = cut(problem.k, std::max((kTileElements - plan.m.size * plan.n.size) / (plan.m.size + plan.n.size), kTile));
  translate_errors("a matrix product", [&] { describe_tiles(problem, plan); });
  lay_out(problem, plan);
  return plan;
}

Product::Product(const ProductProblem& problem, const ProductPlan& plan, ConstTensorView a, ConstTensorView b,
                 ConstTensorView bias, Activation activation, TensorView c, TensorView workspace)
    : problem_(problem),
      activation_(activation),
      m_(plan.m),
      n_(plan.n),
      k_(plan.k),
      a_{.matrix = a, .columns = problem.a_transposed ? problem.m : problem.k, .scratch = plan.a.in<float>(workspace)},
      b_{.matrix = b, .columns = problem.b_transposed ? problem.k : problem.n, .scratch = plan.b.in<float>(workspace)},
      c_(c),
      bias_(bias),
      c_scratch_(plan.c.in<float>(workspace)) {
  if (!plan.bias.empty()) bias_scratch_ = TensorView(plan.bias.in(workspace), DType::fp32, bias.shape());
  for (const TileProduct& tile : plan.tiles) {
    auto primitive = problem.has_bias && tile.first
                         ? BoundPrimitive(tile.primitive, {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_BIAS})
                         : BoundPrimitive(tile.primitive, {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST});
    primitive.point(DNNL_ARG_SCRATCHPAD, plan.scratchpad.in(workspace));
    tiles_.push_back({.size = tile.size, .first = tile.first, .primitive = std::move(primitive)});
  }
}

void Product::run() {
  if (bias_scratch_.present()) simd::convert(bias_, bias_scratch_);
  for (std::int64_t i = 0; i < m_.count(); ++i) {
    for (std::int64_t j = 0; j < n_.count(); ++j) {
      multiply(i, j);
      store(i, j);
    }
  }
}

void Product::multiply(std::int64_t i, std::int64_t j) {
  const std::int64_t row = m_.begin(i), rows = m_.size_of(i), column = n_.begin(j), columns = n_.size_of(j);
  const auto* bias = static_cast<const float*>(bias_scratch_.present() ? bias_scratch_.raw() : bias_.raw());
  for (std::int64_t l = 0; l < k_.count(); ++l) {
    const std::int64_t begin = k_.begin(l), depth = k_.size_of(l);
    auto& product = tile(rows, columns, depth, l == 0);
    product.point(DNNL_ARG_SRC, problem_.a_transposed ? load(a_, begin, row, depth, rows) : load(a_, row, begin, rows, depth));
    product.point(DNNL_ARG_WEIGHTS,
                  problem_.b_transposed ? load(b_, column, begin, columns, depth) : load(b_, begin, column, depth, columns));
    product.point(DNNL_ARG_DST, sums(i, j));
    if (problem_.has_bias) product.point(DNNL_ARG_BIAS, bias + column);
    product.run();
  }
}

BoundPrimitive& Product::tile(std::int64_t m, std::int64_t n, std::int64_t k, bool first) {
  const std::array<std::int64_t, 3> size{m, n, k};
  return std::find_if(tiles_.begin(), tiles_.end(), [&](const BoundTile& t) { return t.first == first && t.size == size; })
      ->primitive;
}

const void* Product::load(const Operand& operand, std::int64_t row, std::int64_t column, std::int64_t rows,
                          std::int64_t columns) const {
  return dispatch_floating(operand.matrix.dtype(), [&](auto t) -> const void* {
    const auto* from = operand.matrix.data<decltype(t)>() + row * operand.columns + column;
    if (operand.scratch == nullptr) return from;
    load_rows(from, operand.columns, operand.scratch, rows, columns);
    return operand.scratch;
  });
}

float* Product::sums(std::int64_t i, std::int64_t j) const {
  return c_scratch_ != nullptr ? c_scratch_ : c_.data<float>() + m_.begin(i) * problem_.n + n_.begin(j);
}

void Product::store(std::int64_t i, std::int64_t j) const {
  const std::int64_t rows = m_.size_of(i), columns = n_.size_of(j);
  dispatch_floating(c_.dtype(), [&](auto t) {
    auto* const tile = c_.data<decltype(t)>() + m_.begin(i) * problem_.n + n_.begin(j);
    if (c_scratch_ != nullptr) store_rows(c_scratch_, tile, problem_.n, rows, columns, problem_.accumulate);
    activate_rows(tile, problem_.n, rows, columns, activation_);
  });
}

}  // namespace minim::onednn
