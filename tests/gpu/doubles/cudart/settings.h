#pragma once

#include <driver_types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace cudart {

/// When the work of a stream runs, of all the moments that CUDA allows.
enum class ScheduleKind {
  eager,   ///< as soon as it is enqueued and what it waits for has run
  lazy,    ///< when the host, or a stream that the host waits for, waits for it
  random,  ///< as eager, with pauses
  slow,    ///< one stream is lazy, all others are eager
};

struct Schedule {
  ScheduleKind kind = ScheduleKind::eager;
  std::uint64_t seed = 1;  ///< also of the order of threads and blocks
  int slow_stream = 0;     ///< streams are numbered in the order of their creation, from 0

  /// Whether the stream's work waits until it is asked for.
  bool is_lazy(int stream) const { return kind == ScheduleKind::lazy || (kind == ScheduleKind::slow && stream == slow_stream); }
};

/// The `call`-th call of `function` fails.
struct Failure {
  std::string function;
  int call;          ///< from 1
  cudaError_t code;  ///< cudaSuccess: it does not return
};

/// What the environment asks for:
///
///     MINIM_DOUBLE_SCHEDULE   eager (default), lazy, random:SEED, slow:STREAM
///     MINIM_DOUBLE_FAIL       FUNCTION:CALL:CODE[,...], code as in driver_types.h
///     MINIM_DOUBLE_MEMORY     bytes of a device, with K, M or G; default 8G
///     MINIM_DOUBLE_DEVICES    number of devices; default 1
///     MINIM_DOUBLE_CAPABILITY their compute capability times 10; default 90
///     MINIM_DOUBLE_KERNELS    libraries of emulated kernels, separated by colons
struct Settings {
  Schedule schedule;
  std::vector<Failure> failures;
  std::string calls_file;  ///< to which calls are written, a line each; may be empty
  std::size_t memory_bytes = std::size_t{8} << 30;
  int capability = 90;
  std::vector<int> devices;  ///< numbers that CUDA_VISIBLE_DEVICES has left
  std::vector<std::string> kernel_libraries;
};

/// Read once. Refuses what it does not understand.
const Settings& settings();

}  // namespace cudart
