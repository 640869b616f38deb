#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace minim::cpu {

/// Elements that one thread takes at least: below that, waking another costs more than it saves.
inline constexpr std::int64_t kElementsPerThread = 32768;

/// Calls `f(begin, end)` on consecutive pieces that together cover [0, n), each of at least `grain` items, on the calling
/// thread's OpenMP threads; in line when one piece remains. `f` must not throw.
template <class F>
void parallel_for(std::int64_t n, std::int64_t grain, const F& f) {
  const std::int64_t pieces = std::min<std::int64_t>(omp_get_max_threads(), n / std::max<std::int64_t>(grain, 1));
  if (pieces <= 1) {
    if (n > 0) f(std::int64_t{0}, n);
    return;
  }
#pragma omp parallel for schedule(static, 1) num_threads(static_cast <int>(pieces))
  for (std::int64_t piece = 0; piece < pieces; ++piece) f(n * piece / pieces, n * (piece + 1) / pieces);
}

}  // namespace minim::cpu
