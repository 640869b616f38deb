#include "plan/arena.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "minim/runtime/memory.h"
#include "minim/runtime/philox.h"

namespace minim {
namespace {

/// Lifetimes as they come: many short ones, some long ones, sizes over four powers of ten, some of nothing.
std::vector<Lifetime> random_lifetimes(std::uint32_t seed, int count) {
  std::vector<Lifetime> pieces;
  for (int i = 0; i < count; ++i) {
    const auto r = philox({static_cast<std::uint32_t>(i), 0, 0, 0}, {seed, 0});
    const int first = static_cast<int>(r[0] % 100);
    const int length = static_cast<int>(r[1] % (r[3] % 4 == 0 ? 100 : 4));
    pieces.push_back({static_cast<std::int64_t>(r[2] % 10000), first, first + length});
  }
  return pieces;
}

std::int64_t aligned(const Lifetime& piece) { return round_up(piece.size_bytes, kAlignmentBytes); }

/// Most bytes needed at one time: no layout is smaller.
std::int64_t peak_bytes(const std::vector<Lifetime>& pieces) {
  std::int64_t peak = 0;
  for (int t = 0; t < 200; ++t) {
    std::int64_t live = 0;
    for (const Lifetime& p : pieces) live += p.first <= t && t <= p.last ? aligned(p) : 0;
    peak = std::max(peak, live);
  }
  return peak;
}

TEST(Arena, PiecesNeededAtTheSameTimeDoNotOverlap) {
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    const std::vector<Lifetime> pieces = random_lifetimes(seed, 150);
    const ArenaLayout layout = place(pieces);
    for (std::size_t a = 0; a < pieces.size(); ++a) {
      ASSERT_EQ(layout.offsets_bytes[a] % kAlignmentBytes, 0);
      ASSERT_LE(layout.offsets_bytes[a] + aligned(pieces[a]), layout.size_bytes);
      for (std::size_t b = 0; b < a; ++b) {
        const bool meet = pieces[a].first <= pieces[b].last && pieces[b].first <= pieces[a].last;
        const bool overlap = layout.offsets_bytes[a] < layout.offsets_bytes[b] + pieces[b].size_bytes &&
                             layout.offsets_bytes[b] < layout.offsets_bytes[a] + pieces[a].size_bytes;
        ASSERT_FALSE(meet && overlap) << "seed " << seed << ", pieces " << a << " and " << b;
      }
    }
  }
}

TEST(Arena, StaysCloseToThePeak) {
  // Greedy placement by size is usually within a few percent of the peak; the factor leaves room for random lifetimes.
  constexpr double kOverPeak = 1.25;
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    const std::vector<Lifetime> pieces = random_lifetimes(seed, 150);
    const std::int64_t peak = peak_bytes(pieces), size = place(pieces).size_bytes;
    EXPECT_GE(size, peak);
    EXPECT_LE(static_cast<double>(size), kOverPeak * static_cast<double>(peak)) << "seed " << seed;
  }
}

TEST(Arena, ReusesWhatIsFree) {
  const std::vector<Lifetime> one_after_the_other{{640, 0, 1}, {640, 2, 3}, {640, 4, 9}};
  EXPECT_EQ(place(one_after_the_other).size_bytes, 640);
  const std::vector<Lifetime> handed_over{{640, 0, 2}, {640, 2, 3}};
  EXPECT_EQ(place(handed_over).size_bytes, 1280);
}

TEST(Arena, OfNothingIsEmpty) { EXPECT_EQ(place({}).size_bytes, 0); }

}  // namespace
}  // namespace minim
