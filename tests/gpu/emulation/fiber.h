#pragma once

#include <cstddef>

#include "sanitizers.h"

namespace minim::emulation {

/// A function that runs on a stack of its own, and stops and goes on where it likes. It belongs to one thread, and so do its
/// calls. Sanitizers are told of every switch; to ThreadSanitizer it is a thread of its own, unordered against others.
class Fiber {
 public:
  /// `body(context)` must never return: it suspends itself when it has nothing more to do.
  Fiber(void (*body)(void*), void* context);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Runs the function until it suspends itself.
  void resume();
  /// Called by the function: goes back to who resumed it.
  void suspend();

 private:
  static void enter();

  void (*body_)(void*);
  void* context_;
  char* stack_;          // with an inaccessible page before it
  void* own_ = nullptr;  // stack pointers of the side that does not run
  void* resumer_ = nullptr;
  void* own_fake_ = nullptr;  // AddressSanitizer's stacks
  const void* resumer_stack_ = nullptr;
  std::size_t resumer_stack_bytes_ = 0;
  doubles::Strand strand_;
};

}  // namespace minim::emulation
