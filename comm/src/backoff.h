#pragma once

#include <sched.h>

#include <chrono>
#include <thread>

namespace minim::detail {

/// How a thread waits for its peers: it spins while they may be a microsecond away, then lets others run, then sleeps, so that it
/// does not take the core from the ranks that it waits for.
class Backoff {
 public:
  /// `crowded`: more ranks than cores, so that spinning keeps a peer from running.
  explicit Backoff(bool crowded) : spins_(crowded ? kCrowdedSpins : kSpins) {}

  void reset() { count_ = 0; }
  /// Waits a little. True when enough time has passed for a look at the clock.
  bool pause() {
    ++count_;
    if (count_ <= spins_) {
      __builtin_ia32_pause();
      return count_ % kSpinsPerLook == 0;
    }
    if (count_ <= spins_ + kYields) {
      sched_yield();
    } else {
      std::this_thread::sleep_for(kSleep);
    }
    return true;
  }

 private:
  static constexpr int kSpins = 2000;  // about 40 us
  static constexpr int kCrowdedSpins = 20;
  static constexpr int kSpinsPerLook = 256;
  static constexpr int kYields = 100;
  static constexpr std::chrono::microseconds kSleep{30};

  int spins_;
  int count_ = 0;
};

}  // namespace minim::detail
