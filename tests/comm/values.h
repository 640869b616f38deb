#pragma once

#include <cmath>
#include <vector>

#include "group.h"
#include "minim/runtime/half.h"

namespace minim::test {

/// Where a test keeps its tensors: in memory from `allocate`, in ordinary memory, or differently on each rank.
enum class Place { allocated, ordinary, mixed };
inline constexpr Place kPlaces[] = {Place::allocated, Place::ordinary, Place::mixed};

/// A tensor in the memory that a test asks for.
template <class T>
class Values {
 public:
  Values(Communicator& group, std::int64_t elements, Place place) : elements_(elements) {
    // All ranks allocate, whether they use it or not: it is a collective call.
    if (place != Place::ordinary) {
      buffer_ = group.allocate(backend_, std::max<std::int64_t>(1, elements) * size_bytes(kDType<T>), MemoryKind::gradients);
    }
    if (place == Place::ordinary || (place == Place::mixed && group.rank() % 2 == 0)) {
      vector_.resize(static_cast<std::size_t>(std::max<std::int64_t>(1, elements)));
    }
  }
  TensorView view() const { return {data(), kDType<T>, Shape{elements_}}; }
  T* data() const { return vector_.empty() ? static_cast<T*>(buffer_.data()) : const_cast<T*>(vector_.data()); }
  std::int64_t elements() const { return elements_; }
  T& operator[](std::int64_t i) const { return data()[i]; }

 private:
  HostBackend backend_;
  Buffer buffer_;
  std::vector<T> vector_;
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

}  // namespace minim::test
