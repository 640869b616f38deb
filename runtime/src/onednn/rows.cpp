#include "onednn/rows.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "cpu/parallel.h"
#include "minim/runtime/simd.h"
#include "onednn/rounding.h"

namespace minim::onednn {
namespace {

/// Columns that are summed at a time: their FP32 sums stay in the L1 cache.
constexpr std::int64_t kColumns = 1024;

template <class T>
void sum_typed(ConstTensorView dy, TensorView out, bool accumulate) {
  const std::int64_t columns = out.elements(), rows = dy.elements() / columns;
  const T* from = dy.data<T>();
  T* to = out.data<T>();
  cpu::parallel_for(columns, kColumns, [=](std::int64_t begin, std::int64_t end) {
    std::array<float, kColumns> sums, row_values;
    for (std::int64_t column = begin; column < end; column += kColumns) {
      const std::int64_t n = std::min(kColumns, end - column);
      std::fill_n(sums.begin(), n, 0.0F);
      for (std::int64_t row = 0; row < rows; ++row) {
        simd::to_float(from + row * columns + column, row_values.data(), n);
        simd::add(row_values.data(), sums.data(), n);
      }
      if (accumulate) {
        simd::to_float(to + column, row_values.data(), n);
        simd::add(row_values.data(), sums.data(), n);
      }
      simd::from_float(sums.data(), to + column, n);
    }
  });
}

}  // namespace

void sum_rows(ConstTensorView rows, TensorView out, bool accumulate) {
  if (out.elements() == 0) return;
  dispatch_floating(rows.dtype(), [&](auto t) { sum_typed<decltype(t)>(rows, out, accumulate); });
}

void fill_rows(ConstTensorView row, TensorView out, Activation activation) {
  if (!row.present()) return fill_zero(out);
  const std::int64_t row_bytes = row.size_bytes();
  for (std::int64_t begin = 0; begin < out.size_bytes(); begin += row_bytes) {
    std::memcpy(static_cast<std::byte*>(out.raw()) + begin, row.raw(), static_cast<std::size_t>(row_bytes));
  }
  activate(out, activation);
}

}  // namespace minim::onednn
