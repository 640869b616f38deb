#include <limits>
#include <vector>

#include "reference/elements.h"
#include "reference/kernels.h"

namespace minim::reference {
namespace {

/// Reads int32 or int64 indices.
std::int64_t index_at(const ConstTensorView& indices, std::int64_t i) {
  return indices.dtype() == DType::int32 ? indices.data<std::int32_t>()[i] : indices.data<std::int64_t>()[i];
}

/// Places of the valid samples.
std::int64_t valid_places(const ConstTensorView& indices, const ConstTensorView& valid_samples) {
  return count_valid(valid_samples, indices.shape()[0]) * indices.shape().elements_per_sample();
}

}  // namespace

void run(const EmbeddingForward& args) {
  const Input w(args.w);
  const Output y(args.y);
  const std::int64_t rows = args.w.shape()[0], columns = args.w.shape()[1];
  const std::int64_t valid = valid_places(args.indices, args.valid_samples);
  for (std::int64_t i = 0; i < args.indices.elements(); ++i) {
    const std::int64_t row = i < valid ? index_at(args.indices, i) : 0;
    const bool exists = row >= 0 && row < rows;
    for (std::int64_t d = 0; d < columns; ++d) {
      const double value = exists ? w[row * columns + d] : std::numeric_limits<double>::quiet_NaN();
      y.store(i * columns + d, i < valid ? value : 0);
    }
  }
}

void run(const EmbeddingBackward& args) {
  const Input dy(args.dy);
  const Output dw(args.dw);
  const std::int64_t rows = args.dw.shape()[0], columns = args.dw.shape()[1];
  std::vector<float> sums(static_cast<std::size_t>(args.dw.elements()));
  for (std::int64_t i = 0; i < valid_places(args.indices, args.valid_samples); ++i) {
    const std::int64_t row = index_at(args.indices, i);
    if (row < 0 || row >= rows) continue;
    for (std::int64_t d = 0; d < columns; ++d) sums[static_cast<std::size_t>(row * columns + d)] += dy[i * columns + d];
  }
  for (std::int64_t e = 0; e < args.dw.elements(); ++e) {
    dw.store(e, sums[static_cast<std::size_t>(e)] + (args.accumulate ? dw[e] : 0.0F));
  }
}

}  // namespace minim::reference
