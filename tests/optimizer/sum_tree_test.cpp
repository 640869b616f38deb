#include "sum_tree.h"

#include <gtest/gtest.h>

#include <span>
#include <vector>

namespace minim {
namespace {

/// The tree as its definition says it.
double halves_of_halves(std::span<const double> values) {
  if (values.empty()) return 0;
  if (values.size() == 1) return values[0];
  return halves_of_halves(values.first(values.size() / 2)) + halves_of_halves(values.subspan(values.size() / 2));
}

/// Positive numbers of very different sizes, so that another order of additions has other bits.
std::vector<double> make_values(std::int64_t count) {
  std::vector<double> values;
  std::uint32_t seed = 1;
  for (std::int64_t i = 0; i < count; ++i) {
    seed = seed * 1664525U + 1013904223U;
    values.push_back(static_cast<double>(seed >> 8U) * (seed % 3 == 0 ? 1e-9 : 1.1));
  }
  return values;
}

TEST(SumTree, AddsHalvesOfHalves) {
  for (std::int64_t count = 0; count < 300; ++count) {
    const auto values = make_values(count);
    ASSERT_EQ(add_pairwise(values.data(), count), halves_of_halves(values)) << count;
  }
}

TEST(SumTree, NodesOfADepthAreThePartsOfTheSameTree) {
  constexpr int kDepth = 4;
  for (const std::int64_t count : {0, 1, 7, 16, 17, 100, 1001}) {
    const auto values = make_values(count);
    std::vector<double> sums;
    std::int64_t end = 0;
    for (std::int64_t index = 0; index < 1 << kDepth; ++index) {
      const SumNode node = sum_node(count, kDepth, index);
      ASSERT_EQ(node.begin, end) << count << ", " << index;
      end = node.begin + node.count;
      sums.push_back(add_pairwise(values.data() + node.begin, node.count));
    }
    ASSERT_EQ(end, count);
    EXPECT_EQ(halves_of_halves(sums), halves_of_halves(values)) << count;
  }
}

}  // namespace
}  // namespace minim
