#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "minim/comm/communicator.h"

namespace minim::testing {

/// Runs `rank(communicator)` on `size` threads, one rank each, and rethrows the first exception of the lowest rank.
inline void run_ranks(int size, const std::function<void(Communicator&)>& rank, ThreadGroupOptions options = {}) {
  auto communicators = make_thread_communicators(size, options);
  std::vector<std::exception_ptr> failures(static_cast<std::size_t>(size));
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r) {
    threads.emplace_back([&, r] {
      const auto index = static_cast<std::size_t>(r);
      try {
        rank(*communicators[index]);
      } catch (...) {
        failures[index] = std::current_exception();
        communicators[index]->abort("a rank of the test has failed");
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (const auto& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

}  // namespace minim::testing
