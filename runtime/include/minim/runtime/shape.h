#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace minim {

/// Extents of a tensor, outermost first, in elements. Tensors are dense: the last dimension is contiguous.
/// In a graph, `kBatch` stands for the number of samples that a plan is compiled for.
class Shape {
 public:
  static constexpr int kMaxRank = 6;
  static constexpr std::int64_t kBatch = -1;

  Shape() = default;  ///< rank 0, one element
  Shape(std::initializer_list<std::int64_t> dims);
  explicit Shape(std::span<const std::int64_t> dims);

  int rank() const { return rank_; }
  /// Dimension `i`; negative `i` counts from the end. Throws InvalidArgument when out of range.
  std::int64_t operator[](int i) const;
  std::span<const std::int64_t> dims() const { return {dims_.data(), static_cast<std::size_t>(rank_)}; }

  /// Product of all dimensions; 1 for rank 0. Throws InvalidArgument while the batch is unknown or on overflow.
  std::int64_t elements() const;
  /// Elements of one sample: the product of all dimensions but the first.
  std::int64_t elements_per_sample() const;
  bool has_batch() const;
  /// Every `kBatch` replaced by `batch`.
  Shape with_batch(std::int64_t batch) const;

  /// "[16, 28, 28, 1]"; `kBatch` shows as "N".
  std::string to_string() const;

  friend bool operator==(const Shape&, const Shape&) = default;

 private:
  std::array<std::int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

}  // namespace minim
