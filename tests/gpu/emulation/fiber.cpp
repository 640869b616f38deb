#include "emulation/fiber.h"

#include <sys/mman.h>

#include <cstdlib>

#include "doubles/double.h"

#ifndef __x86_64__
#error "the emulation of kernels knows how to switch stacks on x86-64 only"
#endif

extern "C" {
/// Saves the registers that calls preserve on the present stack and its address in `*saved`; goes on where `target` was saved.
void minim_emulation_switch(void** saved, void* target);

__attribute__((weak)) void __sanitizer_start_switch_fiber(void** saved_fake, const void* stack, std::size_t size_bytes);
__attribute__((weak)) void __sanitizer_finish_switch_fiber(void* fake, const void** old_stack, std::size_t* old_size_bytes);
}

asm(R"(
.text
.globl minim_emulation_switch
.hidden minim_emulation_switch
.type minim_emulation_switch, @function
minim_emulation_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size minim_emulation_switch, .-minim_emulation_switch
)");

namespace minim::emulation {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kStackBytes = 256 << 10;  // AddressSanitizer makes frames large
constexpr int kSavedRegisters = 6;

thread_local Fiber* t_resumed = nullptr;

}  // namespace

Fiber::Fiber(void (*body)(void*), void* context) : body_(body), context_(context) {
  void* memory = mmap(nullptr, kPage + kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, kPage, PROT_NONE) != 0) double_refuse("there is no memory for a kernel's stacks");
  stack_ = static_cast<char*>(memory) + kPage;
  // As if `enter` had been called from nowhere and had switched away at once.
  auto** top = reinterpret_cast<void**>(stack_ + kStackBytes - 64);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(&Fiber::enter);
  for (int i = 0; i < kSavedRegisters; ++i) *--top = nullptr;
  own_ = top;
}

Fiber::~Fiber() { munmap(stack_ - kPage, kPage + kStackBytes); }

void Fiber::enter() {
  Fiber& self = *t_resumed;
  if (__sanitizer_finish_switch_fiber) {
    __sanitizer_finish_switch_fiber(nullptr, &self.resumer_stack_, &self.resumer_stack_bytes_);
  }
  self.body_(self.context_);
  std::abort();
}

void Fiber::resume() {
  void* fake = nullptr;
  t_resumed = this;
  strand_.enter();
  if (__sanitizer_start_switch_fiber) __sanitizer_start_switch_fiber(&fake, stack_, kStackBytes);
  minim_emulation_switch(&resumer_, own_);
  if (__sanitizer_finish_switch_fiber) __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
}

void Fiber::suspend() {
  strand_.leave();
  if (__sanitizer_start_switch_fiber) __sanitizer_start_switch_fiber(&own_fake_, resumer_stack_, resumer_stack_bytes_);
  minim_emulation_switch(&own_, resumer_);
  if (__sanitizer_finish_switch_fiber) __sanitizer_finish_switch_fiber(own_fake_, &resumer_stack_, &resumer_stack_bytes_);
}

}  // namespace minim::emulation
