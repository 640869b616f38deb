// A step in small: copy in, compute in one stream, reduce in another, copy out. Its argument says what is wrong with it. Ends
// with 0 and "right" or with 1 and "wrong" for its numbers, unless something notices before.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "programs/kernels.h"

namespace {

constexpr std::int64_t kCount = 4000;
constexpr std::size_t kBytes = kCount * sizeof(float);

std::string g_fault;

bool is(const char* fault) { return g_fault == fault; }

void check(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s returns %d: %s\n", call, static_cast<int>(error), cudaGetErrorString(error));
  std::exit(2);
}
#define CHECK(call) check(call, #call)

struct Step {
  cudaStream_t compute = nullptr, reduce = nullptr;
  cudaEvent_t computed = nullptr, reduced = nullptr;
  float *host = nullptr, *result = nullptr, *x = nullptr, *sum = nullptr;

  Step() {
    CHECK(cudaStreamCreateWithFlags(&compute, cudaStreamNonBlocking));
    CHECK(cudaStreamCreateWithFlags(&reduce, cudaStreamNonBlocking));
    CHECK(cudaEventCreateWithFlags(&computed, cudaEventDisableTiming));
    CHECK(cudaEventCreateWithFlags(&reduced, cudaEventDisableTiming));
    CHECK(cudaMallocHost(reinterpret_cast<void**>(&host), kBytes));
    CHECK(cudaMallocHost(reinterpret_cast<void**>(&result), sizeof(float)));
    CHECK(cudaMalloc(reinterpret_cast<void**>(&x), kBytes));
    CHECK(cudaMalloc(reinterpret_cast<void**>(&sum), sizeof(float)));
    for (std::int64_t i = 0; i < kCount; ++i) host[i] = static_cast<float>(i % 7);
  }

  void enqueue() {
    CHECK(cudaMemcpyAsync(x, host, kBytes, cudaMemcpyHostToDevice, compute));
    CHECK(programs::scale(compute, x, 2, kCount));
    CHECK(cudaEventRecord(computed, compute));
    if (!is("missing_wait")) CHECK(cudaStreamWaitEvent(reduce, computed, 0));
    CHECK(programs::sum(reduce, sum, x, kCount));
    CHECK(cudaEventRecord(reduced, reduce));
    if (!is("missing_wait_before_overwriting")) CHECK(cudaStreamWaitEvent(compute, reduced, 0));
    CHECK(cudaMemsetAsync(x, 0, kBytes, compute));  // the next step's use of the memory
    CHECK(cudaMemcpyAsync(result, sum, sizeof(float), cudaMemcpyDeviceToHost, reduce));
    break_something();
  }

  void break_something() {
    if (is("host_touch")) x[0] = 1;
    if (is("out_of_bounds")) CHECK(programs::add(reduce, x + kCount, 1, 64));
    if (is("far_out_of_bounds")) CHECK(programs::add(reduce, x + 100000, 1, 64));
    if (is("use_after_free")) {
      CHECK(cudaStreamSynchronize(compute));
      CHECK(cudaFree(x));
      CHECK(programs::add(compute, x, 1, kCount));
    }
    if (is("blocks_race")) CHECK(programs::write_by_all_blocks(reduce, reinterpret_cast<int*>(x)));
  }

  /// Whether the sum is right; it is a whole number, exact in any order.
  bool is_right() {
    if (!is("missing_synchronize")) CHECK(cudaStreamSynchronize(reduce));
    float wanted = 0;
    for (std::int64_t i = 0; i < kCount; ++i) wanted += 2 * static_cast<float>(i % 7);
    const bool right = *result == wanted;
    CHECK(cudaDeviceSynchronize());
    return right;
  }

  void free() {
    CHECK(cudaStreamDestroy(compute));
    CHECK(cudaStreamDestroy(reduce));
    CHECK(cudaEventDestroy(computed));
    CHECK(cudaEventDestroy(reduced));
    CHECK(cudaFree(x));
    CHECK(cudaFree(sum));
    CHECK(cudaFreeHost(host));
    CHECK(cudaFreeHost(result));
  }
};

/// Fills memory with an address of the device, as earlier use of it may have left it, so that it comes after a number's 4 bytes.
void fill_with_address(void* memory, std::size_t size_bytes, const float* address) {
  const auto behind = reinterpret_cast<std::uintptr_t>(address) + (std::uintptr_t{1} << 32U);  // is one with any lower half
  auto* words = static_cast<volatile std::uintptr_t*>(memory);
  for (std::size_t i = 0; i < size_bytes / sizeof behind; ++i) words[i] = behind;
}

/// Numbers stay what they are, although addresses lie in the padding behind them: in the argument and in the memory that the
/// double gets for its copies.
bool keeps_numbers() {
  cudaStream_t stream = nullptr;
  float *x = nullptr, *host = nullptr;
  constexpr std::size_t kTwo = 2 * sizeof(float);
  CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  CHECK(cudaMallocHost(reinterpret_cast<void**>(&host), kTwo));
  CHECK(cudaMalloc(reinterpret_cast<void**>(&x), kTwo));
  programs::Numbered first;
  fill_with_address(&first, sizeof first, x);
  first.number = 3;
  first.x = x;
  constexpr std::size_t kCopyBytes = sizeof first + sizeof(void*);
  void* memory = std::malloc(kCopyBytes);
  fill_with_address(memory, kCopyBytes, x);
  std::free(memory);
  CHECK(programs::write_numbers(stream, first, 4));
  CHECK(cudaMemcpyAsync(host, x, kTwo, cudaMemcpyDeviceToHost, stream));
  CHECK(cudaStreamSynchronize(stream));
  return host[0] == 3 && host[1] == 4;
}

/// A kernel's fault, alone in a stream: whether its numbers are right.
bool run_kernel() {
  cudaStream_t stream = nullptr;
  float *from = nullptr, *to = nullptr, *host = nullptr;
  constexpr int kThreads = 256;
  CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  CHECK(cudaMallocHost(reinterpret_cast<void**>(&host), kThreads * sizeof(float)));
  CHECK(cudaMalloc(reinterpret_cast<void**>(&from), kThreads * sizeof(float)));
  CHECK(cudaMalloc(reinterpret_cast<void**>(&to), kThreads * sizeof(float)));
  for (int i = 0; i < kThreads; ++i) host[i] = static_cast<float>(i);
  CHECK(cudaMemcpyAsync(from, host, kThreads * sizeof(float), cudaMemcpyHostToDevice, stream));
  CHECK(programs::reverse(stream, to, from));  // leaves the right values in shared memory
  CHECK(is("missing_barrier") ? programs::reverse_without_barrier(stream, to, from) : programs::reverse(stream, to, from));
  if (is("divergent_barrier")) CHECK(programs::diverge(stream));
  if (is("ended_thread")) CHECK(programs::end_before_barrier(stream));
  if (is("endless_wait")) CHECK(programs::wait_without_end(stream));
  if (is("missing_lane")) CHECK(programs::shuffle_with_missing_lane(stream, reinterpret_cast<int*>(to)));
  CHECK(cudaMemcpyAsync(host, to, kThreads * sizeof(float), cudaMemcpyDeviceToHost, stream));
  CHECK(cudaStreamSynchronize(stream));
  bool right = true;
  for (int i = 0; i < kThreads; ++i) right = right && host[i] == static_cast<float>(kThreads - 1 - i);
  return right;
}

bool run_step() {
  Step step;
  step.enqueue();
  const bool right = step.is_right();
  step.free();
  return right;
}

}  // namespace

int main(int count, char** arguments) {
  const std::string part = count > 1 ? arguments[1] : "";
  g_fault = count > 2 ? arguments[2] : "none";
  if (part != "step" && part != "kernel" && part != "arguments") {
    std::fprintf(stderr, "faults step|kernel|arguments [FAULT]\n");
    return 2;
  }
  const bool right = part == "step" ? run_step() : part == "kernel" ? run_kernel() : keeps_numbers();
  std::printf("%s\n", right ? "right" : "wrong");
  return right ? 0 : 1;
}
