#include "plan/arena.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "minim/runtime/memory.h"

namespace minim {

namespace {

bool meet(const Lifetime& a, const Lifetime& b) { return a.first <= b.last && b.first <= a.last; }

/// The start of the tightest gap between `taken` (begin, end) that holds `size_bytes`, or of the room behind them.
std::int64_t best_fit(std::vector<std::pair<std::int64_t, std::int64_t>>& taken, std::int64_t size_bytes) {
  std::ranges::sort(taken);
  std::int64_t best = -1, tightest = std::numeric_limits<std::int64_t>::max(), end = 0;
  for (const auto& [taken_begin, taken_end] : taken) {
    const std::int64_t gap = taken_begin - end;
    if (gap >= size_bytes && gap < tightest) {
      best = end;
      tightest = gap;
    }
    end = std::max(end, taken_end);
  }
  return best >= 0 ? best : end;
}

ArenaLayout place_in_order(std::span<const Lifetime> pieces, std::span<const std::size_t> order) {
  ArenaLayout layout;
  layout.offsets_bytes.resize(pieces.size());
  std::vector<std::size_t> placed;
  std::vector<std::pair<std::int64_t, std::int64_t>> taken;
  for (const std::size_t i : order) {
    taken.clear();
    for (const std::size_t p : placed) {
      if (meet(pieces[p], pieces[i])) {
        taken.emplace_back(layout.offsets_bytes[p], layout.offsets_bytes[p] + round_up(pieces[p].size_bytes, kAlignmentBytes));
      }
    }
    const std::int64_t size_bytes = round_up(pieces[i].size_bytes, kAlignmentBytes);
    layout.offsets_bytes[i] = best_fit(taken, size_bytes);
    layout.size_bytes = std::max(layout.size_bytes, layout.offsets_bytes[i] + size_bytes);
    placed.push_back(i);
  }
  return layout;
}

}  // namespace

/// Large pieces first is the better greedy order for most networks, order of use for some: takes the smaller arena of the two.
ArenaLayout place(std::span<const Lifetime> pieces) {
  std::vector<std::size_t> order(pieces.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return pieces[i].first; });
  ArenaLayout by_use = place_in_order(pieces, order);
  std::ranges::stable_sort(order, std::ranges::greater{}, [&](std::size_t i) { return pieces[i].size_bytes; });
  ArenaLayout by_size = place_in_order(pieces, order);
  return by_size.size_bytes <= by_use.size_bytes ? by_size : by_use;
}

}  // namespace minim
