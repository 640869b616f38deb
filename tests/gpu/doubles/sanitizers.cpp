#include "sanitizers.h"

// Null where the program is built without that sanitizer.
extern "C" {
__attribute__((weak)) void AnnotateIgnoreSyncBegin(const char* file, int line);
__attribute__((weak)) void AnnotateIgnoreSyncEnd(const char* file, int line);
__attribute__((weak)) void AnnotateIgnoreReadsBegin(const char* file, int line);
__attribute__((weak)) void AnnotateIgnoreReadsEnd(const char* file, int line);
__attribute__((weak)) void AnnotateIgnoreWritesBegin(const char* file, int line);
__attribute__((weak)) void AnnotateIgnoreWritesEnd(const char* file, int line);
__attribute__((weak)) void __tsan_read_range(void* address, unsigned long size_bytes);
__attribute__((weak)) void __tsan_write_range(void* address, unsigned long size_bytes);
__attribute__((weak)) void __tsan_acquire(void* address);
__attribute__((weak)) void __tsan_release(void* address);
__attribute__((weak)) void* __tsan_get_current_fiber();
__attribute__((weak)) void* __tsan_create_fiber(unsigned flags);
__attribute__((weak)) void __tsan_destroy_fiber(void* fiber);
__attribute__((weak)) void __tsan_switch_to_fiber(void* fiber, unsigned flags);
__attribute__((weak)) void __asan_poison_memory_region(const volatile void* address, std::size_t size_bytes);
__attribute__((weak)) void __asan_unpoison_memory_region(const volatile void* address, std::size_t size_bytes);
}

namespace doubles {
namespace {

constexpr unsigned kWithoutOrder = 1;  // __tsan_switch_to_fiber_no_sync

thread_local int t_depth = 0;

void hide() {
  if (!AnnotateIgnoreSyncBegin) return;
  AnnotateIgnoreSyncBegin(__FILE__, __LINE__);
  AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
  AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
}

void show() {
  if (!AnnotateIgnoreSyncEnd) return;
  AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
  AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  AnnotateIgnoreSyncEnd(__FILE__, __LINE__);
}

}  // namespace

bool has_thread_sanitizer() { return __tsan_release != nullptr; }

Hidden::Hidden() {
  if (t_depth++ == 0) hide();
}

Hidden::~Hidden() {
  if (--t_depth == 0) show();
}

Shown::Shown() : depth_(t_depth) {
  t_depth = 0;
  if (depth_ > 0) show();
}

Shown::~Shown() {
  t_depth = depth_;
  if (depth_ > 0) hide();
}

void show_read(const void* address, std::size_t size_bytes) {
  const Shown shown;
  if (__tsan_read_range) __tsan_read_range(const_cast<void*>(address), size_bytes);
}

void show_write(void* address, std::size_t size_bytes) {
  const Shown shown;
  if (__tsan_write_range) __tsan_write_range(address, size_bytes);
}

void Order::publish() {
  const Shown shown;
  if (__tsan_release) __tsan_release(address_);
}

void Order::observe() {
  const Shown shown;
  if (__tsan_acquire) __tsan_acquire(address_);
}

Strand::Strand() {
  if (__tsan_create_fiber) strand_ = __tsan_create_fiber(0);
}

Strand::~Strand() {
  if (strand_ != nullptr) __tsan_destroy_fiber(strand_);
}

void Strand::enter() {
  if (strand_ == nullptr) return;
  thread_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(strand_, kWithoutOrder);
}

void Strand::leave() {
  if (strand_ != nullptr) __tsan_switch_to_fiber(thread_, kWithoutOrder);
}

void poison(const void* address, std::size_t size_bytes) {
  if (__asan_poison_memory_region) __asan_poison_memory_region(address, size_bytes);
}

void unpoison(const void* address, std::size_t size_bytes) {
  if (__asan_unpoison_memory_region) __asan_unpoison_memory_region(address, size_bytes);
}

}  // namespace doubles
