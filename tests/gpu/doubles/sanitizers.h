#pragma once

#include <cstddef>

/// What the sanitizers of the program, where it has any, are told. The double itself is never instrumented: ThreadSanitizer sees
/// its locks, though, and they would order what the program has left unordered.
namespace doubles {

/// Whether the program is built with ThreadSanitizer.
bool has_thread_sanitizer();

/// Hides the locks, allocations and memory accesses of the calling thread from ThreadSanitizer.
class Hidden {
 public:
  Hidden();
  ~Hidden();
  Hidden(const Hidden&) = delete;
  Hidden& operator=(const Hidden&) = delete;
};

/// Within a `Hidden`: lets ThreadSanitizer see again, for work done in the program's name.
class Shown {
 public:
  Shown();
  ~Shown();
  Shown(const Shown&) = delete;
  Shown& operator=(const Shown&) = delete;

 private:
  int depth_;
};

/// Shows ThreadSanitizer an access in the program's name that is made, or has been made, within a `Hidden`.
void show_read(const void* address, std::size_t size_bytes);
void show_write(void* address, std::size_t size_bytes);

/// A point in the order of things that CUDA guarantees: who observes it sees what was done before it was published.
class Order {
 public:
  void publish();
  void observe();

 private:
  alignas(8) char address_[8] = {};
};

/// A sequence of work that ThreadSanitizer takes for a thread of its own, though a thread of the double runs it.
class Strand {
 public:
  Strand();
  ~Strand();
  Strand(const Strand&) = delete;
  Strand& operator=(const Strand&) = delete;
  /// From here on the calling thread is the strand, unordered against what it was, until `leave`.
  void enter();
  void leave();

 private:
  void* strand_ = nullptr;
  void* thread_ = nullptr;
};

/// Makes AddressSanitizer report the program's accesses to the range, or none any more.
void poison(const void* address, std::size_t size_bytes);
void unpoison(const void* address, std::size_t size_bytes);

}  // namespace doubles
