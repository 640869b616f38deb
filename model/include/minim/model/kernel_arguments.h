#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>
#include <vector>

#include "minim/runtime/tensor.h"

namespace minim {

/// Calls `visit(ConstTensorView&)` for every tensor that a kernel reads and `visit(TensorView&)` for every tensor that it writes,
/// nested aggregates and vectors included: an argument struct says by its types which memory a kernel touches.
/// `Args` is an aggregate of at most 16 members.
template <class Args, class Visit>
void for_each_tensor(Args& args, Visit&& visit);

namespace detail {

inline constexpr std::size_t kMaxFields = 16;

/// Converts to whatever a member is initialised from; never evaluated.
struct AnyField {
  std::size_t index;
  template <class T>
  operator T() const;
};

template <class T, std::size_t... I>
constexpr bool takes_fields(std::index_sequence<I...>) {
  return requires { T{AnyField{I}...}; };
}

template <class T, std::size_t N = kMaxFields + 1>
constexpr std::size_t field_count() {
  if constexpr (N == 0 || takes_fields<T>(std::make_index_sequence<N>{})) {
    return N;
  } else {
    return field_count<T, N - 1>();
  }
}

/// Calls `f` with references to all members, in order.
template <class T, class F>
void with_fields(T& t, F&& f) {
  constexpr std::size_t kCount = field_count<std::remove_const_t<T>>();
  static_assert(kCount <= kMaxFields, "a kernel's argument struct has at most 16 members; put some into a struct of their own");
  if constexpr (kCount == 0) {
    f();
  } else if constexpr (kCount == 1) {
    auto& [a] = t;
    f(a);
  } else if constexpr (kCount == 2) {
    auto& [a, b] = t;
    f(a, b);
  } else if constexpr (kCount == 3) {
    auto& [a, b, c] = t;
    f(a, b, c);
  } else if constexpr (kCount == 4) {
    auto& [a, b, c, d] = t;
    f(a, b, c, d);
  } else if constexpr (kCount == 5) {
    auto& [a, b, c, d, e] = t;
    f(a, b, c, d, e);
  } else if constexpr (kCount == 6) {
    auto& [a, b, c, d, e, g] = t;
    f(a, b, c, d, e, g);
  } else if constexpr (kCount == 7) {
    auto& [a, b, c, d, e, g, h] = t;
    f(a, b, c, d, e, g, h);
  } else if constexpr (kCount == 8) {
    auto& [a, b, c, d, e, g, h, i] = t;
    f(a, b, c, d, e, g, h, i);
  } else if constexpr (kCount == 9) {
    auto& [a, b, c, d, e, g, h, i, j] = t;
    f(a, b, c, d, e, g, h, i, j);
  } else if constexpr (kCount == 10) {
    auto& [a, b, c, d, e, g, h, i, j, k] = t;
    f(a, b, c, d, e, g, h, i, j, k);
  } else if constexpr (kCount == 11) {
    auto& [a, b, c, d, e, g, h, i, j, k, l] = t;
    f(a, b, c, d, e, g, h, i, j, k, l);
  } else if constexpr (kCount == 12) {
    auto& [a, b, c, d, e, g, h, i, j, k, l, m] = t;
    f(a, b, c, d, e, g, h, i, j, k, l, m);
  } else if constexpr (kCount == 13) {
    auto& [a, b, c, d, e, g, h, i, j, k, l, m, n] = t;
    f(a, b, c, d, e, g, h, i, j, k, l, m, n);
  } else if constexpr (kCount == 14) {
    auto& [a, b, c, d, e, g, h, i, j, k, l, m, n, o] = t;
    f(a, b, c, d, e, g, h, i, j, k, l, m, n, o);
  } else if constexpr (kCount == 15) {
    auto& [a, b, c, d, e, g, h, i, j, k, l, m, n, o, p] = t;
    f(a, b, c, d, e, g, h, i, j, k, l, m, n, o, p);
  } else {
    auto& [a, b, c, d, e, g, h, i, j, k, l, m, n, o, p, q] = t;
    f(a, b, c, d, e, g, h, i, j, k, l, m, n, o, p, q);
  }
}

template <class T>
inline constexpr bool kIsVector = false;
template <class T>
inline constexpr bool kIsVector<std::vector<T>> = true;

template <class Field, class Visit>
void visit_field(Field& field, Visit&& visit) {
  using T = std::remove_const_t<Field>;
  if constexpr (std::is_same_v<T, ConstTensorView> || std::is_same_v<T, TensorView>) {
    visit(field);
  } else if constexpr (kIsVector<T>) {
    for (auto& element : field) visit_field(element, visit);
  } else if constexpr (std::is_class_v<T> && std::is_aggregate_v<T>) {
    for_each_tensor(field, visit);
  }
}

}  // namespace detail

template <class Args, class Visit>
void for_each_tensor(Args& args, Visit&& visit) {
  static_assert(std::is_aggregate_v<std::remove_const_t<Args>>,
                "a kernel's arguments are an aggregate: no constructors, no private members");
  detail::with_fields(args, [&visit](auto&... fields) { (detail::visit_field(fields, visit), ...); });
}

}  // namespace minim
