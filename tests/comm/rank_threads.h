#pragma once

#include <exception>
#include <thread>

#include "group.h"

namespace minim::test {

/// Runs `body` as every rank, each on a thread of its own, with what `make(rank)` gives it there.
inline void play_on_threads(int size, const std::function<Rank(int rank)>& make, const std::function<void(Rank&)>& body) {
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r) {
    threads.emplace_back([&, r] {
      try {
        Rank rank = make(r);
        try {
          body(rank);
        } catch (const std::exception& error) {
          ADD_FAILURE() << "rank " << r << " threw: " << error.what();
          if (rank.group) rank.group->abort(error.what());
          rank.side->abort(error.what());
        }
      } catch (const std::exception& error) {
        ADD_FAILURE() << "rank " << r << " has no group: " << error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace minim::test
