#pragma once

#include <cmath>
#include <vector>

#include "group.h"
#include "minim/runtime/half.h"

namespace minim::test {

/// A tensor in the memory that a test asks for. The test works on `data()`: where that is not the tensor itself, `write` and
/// `read` copy to and from it.
template <class T>
class Values {
 public:
  Values(Rank& rank, std::int64_t elements, Place place) : backend_(*rank.backend), elements_(elements) {
    const Shape reserved{std::max<std::int64_t>(1, elements)};
    // All ranks allocate, whether they use it or not: it is a collective call.
    if (place != Place::ordinary) {
      allocated_ = rank->allocate(backend_, reserved.elements() * size_bytes(kDType<T>), MemoryKind::gradients);
    }
    const bool is_ordinary = place == Place::ordinary || (place == Place::mixed && rank->rank() % 2 == 0);
    if (is_ordinary || !backend_.host_accessible()) {
      host_ = backend_.allocate_host_tensor(kDType<T>, reserved, MemoryKind::staging);
    }
    data_ = host_.elements() > 0 ? host_.template span<T>().data() : static_cast<T*>(allocated_.data());
    tensor_ = is_ordinary ? data_ : static_cast<T*>(allocated_.data());
  }
  TensorView view() const { return {tensor_, kDType<T>, Shape{elements_}}; }
  T* data() const { return data_; }
  std::int64_t elements() const { return elements_; }
  T& operator[](std::int64_t i) const { return data_[i]; }
  void write() const {
    if (tensor_ != data_) backend_.copy(view(), host_view());
  }
  void read() const {
    if (tensor_ != data_) backend_.copy(host_view(), view());
  }

 private:
  TensorView host_view() const { return {data_, kDType<T>, Shape{elements_}}; }

  Backend& backend_;
  Buffer allocated_;
  Tensor host_;
  T* data_ = nullptr;
  T* tensor_ = nullptr;
  std::int64_t elements_;
};

/// Element i of rank r: a multiple of 2^-6 that `T` holds exactly. Sums over the ranks of these tests, scaled by 2^-4 to 2^4, are
/// exact in FP32 (11 significant bits, 8 ranks), so that an FP64 sum rounded once has the bits that are wanted.
template <class T>
double exact_value(int rank, std::int64_t i) {
  constexpr int kBits = kDType<T> == DType::bf16 ? 8 : 11;
  auto hash = (static_cast<std::uint64_t>(i) * 8 + static_cast<std::uint64_t>(rank) + 1) * 0x9E3779B97F4A7C15U;
  hash ^= hash >> 29U;
  const auto magnitude = static_cast<double>(hash % ((1U << kBits) - 1)) / 64;
  return (hash >> 40U) % 2 == 0 ? magnitude : -magnitude;
}

template <class T>
void fill(const Values<T>& values, int rank) {
  for (std::int64_t i = 0; i < values.elements(); ++i) values[i] = round_to<T>(static_cast<float>(exact_value<T>(rank, i)));
  values.write();
}

/// What an all-reduce must give for element i: the FP64 sum of each node, scaled and rounded to `T`; with several nodes, the FP64
/// sum of these, rounded again.
template <class T, class NodeOf>
T expected_sum(int size, const NodeOf& node_of, std::int64_t i, int scale_exponent) {
  const double scale = std::ldexp(1.0, scale_exponent);
  double sum = 0;
  double of_node = 0;
  for (int r = 0; r < size; ++r) {  // nodes are ranges of ranks
    of_node += exact_value<T>(r, i);
    if (r + 1 < size && node_of(r + 1) == node_of(r)) continue;
    sum += to_float(round_to<T>(static_cast<float>(of_node * scale)));
    of_node = 0;
  }
  return round_to<T>(static_cast<float>(sum));
}

template <class T>
std::uint32_t bits_of(T value) {
  if constexpr (std::is_same_v<T, float>) {
    return std::bit_cast<std::uint32_t>(value);
  } else {
    return value.bits;
  }
}

inline constexpr std::int64_t kNone = -1;
/// The first of `count` elements for which `is_right(i)` is false; kNone when all are right.
template <class IsRight>
std::int64_t first_wrong(std::int64_t count, const IsRight& is_right) {
  for (std::int64_t i = 0; i < count; ++i) {
    if (!is_right(i)) return i;
  }
  return kNone;
}

/// -0 and +0 are taken for equal: FP64 and FP32 sums of opposite numbers agree on +0, a rounded -0 may meet a +0.
template <class T>
bool same_number(T a, T b) {
  return bits_of(a) == bits_of(b) || (to_float(a) == 0 && to_float(b) == 0);
}

/// The largest relative error of rounding to T.
template <class T>
inline constexpr double kRounding = 0x1p-24;
template <>
inline constexpr double kRounding<Half> = 0x1p-11;
template <>
inline constexpr double kRounding<BFloat16> = 0x1p-8;

/// Whether `found` may be the sum of `values`, times 2^e each, of a group that adds them in any order and rounds after every
/// addition: at most as many roundings as there are values, each of a number of at most the sum of their magnitudes.
template <class T>
bool is_near_sum(T found, const std::vector<double>& values, int scale_exponent) {
  double sum = 0, magnitude = 0;
  for (const double value : values) {
    sum += std::ldexp(value, scale_exponent);
    magnitude += std::ldexp(std::abs(value), scale_exponent);
  }
  return std::abs(static_cast<double>(to_float(found)) - sum) <= static_cast<double>(values.size()) * kRounding<T> * magnitude;
}

/// Whether `found` may be element i of the all-reduced `fill` of all ranks.
template <class T, class NodeOf>
bool is_sum(const GroupKind& kind, const NodeOf& node_of, T found, std::int64_t i, int scale_exponent) {
  if (!kind.adds_in_any_order) return same_number(found, expected_sum<T>(kind.size, node_of, i, scale_exponent));
  std::vector<double> values;
  for (int r = 0; r < kind.size; ++r) values.push_back(exact_value<T>(r, i));
  return is_near_sum(found, values, scale_exponent);
}

}  // namespace minim::test
