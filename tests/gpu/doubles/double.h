#pragma once

#include <stddef.h>
#include <stdint.h>

/// What the doubles of CUDA's libraries and the libraries of emulated kernels know of each other. The double of libcudart defines
/// these functions; all of them are separate shared libraries, hence C linkage.
extern "C" {

struct double_dim {
  unsigned x, y, z;
};

/// Runs a kernel over its grid with the arguments that `double_kernel::pack` has made. `seed` decides the order of blocks and
/// threads.
typedef void (*double_invoke)(void* packed, double_dim grid, double_dim block, size_t shared_bytes, uint64_t seed);

/// Called with a place of 8 bytes that may hold an address, to replace it by one that kernels may touch.
typedef void (*double_replace)(void* place, void* context);

/// A kernel that runs on the CPU.
struct double_kernel {
  const char* name;  ///< mangled; must stay alive
  /// Copies what cudaLaunchKernel was given, and calls `replace(place, context)` for all places.
  void* (*pack)(void** arguments, double_replace replace, void* context);
  void (*drop)(void* packed);
  double_invoke invoke;
};

/// Makes a kernel known by its name, under which nvcc's host code asks for it, and by its address, under which code that the
/// host's compiler made asks for it.
void double_register_kernel(const double_kernel* kernel, const void* function);

/// Runs `work(context)` once, in the order of `stream` (a cudaStream_t). Refuses a stream that is being captured.
void double_enqueue(void* stream, void (*work)(void*), void* context);

/// The same for work that may be captured: once, or as often as the graph that it has become part of is launched, on any thread.
/// `drop(context)` is called when it cannot run any more. `name` (which must stay alive) is what messages call the work.
void double_enqueue_owned(void* stream, const char* name, void (*work)(void*), void (*drop)(void*), void* context);

/// Nonzero while `stream` is being captured.
int double_is_capturing(void* stream);

/// The address under which kernels and the doubles reach what the program knows as `pointer`. Host addresses are their own.
void* double_alias(const void* pointer);

/// Nonzero where `pointer` is in device memory.
int double_is_device(const void* pointer);

/// Ends the program with a message for what is wrong on every GPU: "double: <message>", exit code 86.
__attribute__((noreturn)) void double_refuse(const char* message);
}
