// A group with NCCL that loses a rank in the middle of a collective: lost_rank RANK, as one of several processes that meet over
// TCP. The others print the error that ends their wait.

#include <unistd.h>

#include <csignal>
#include <iostream>
#include <string>
#include <thread>

#include "minim/comm/nccl.h"
#include "minim/comm/tcp.h"
#include "minim/runtime/cuda.h"
#include "minim/runtime/error.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const int lost = std::stoi(argv[1]);
  {
    const auto options = minim::tcp_options_of_environment();
    const auto backend = minim::make_cuda_backend({.device = options->rank});
    const auto group = minim::make_tcp_communicator(*options);
    minim::use_nccl(*group, *backend);
    // So much that the kill comes before the end.
    constexpr std::int64_t kElements = std::int64_t{256} << 20;
    const auto buffer = std::make_shared<minim::Buffer>(
        group->allocate(*backend, kElements * minim::size_bytes(minim::DType::fp16), minim::MemoryKind::gradients));
    const minim::Tensor gradients(buffer, 0, minim::DType::fp16, minim::Shape{kElements});
    const minim::Work work = group->all_reduce(gradients, {}, {.label = "bucket 3", .after = {}});
    const auto kill = std::chrono::steady_clock::now() + std::chrono::milliseconds(300);
    while (group->rank() == lost) {
      group->progress();
      if (std::chrono::steady_clock::now() > kill) std::raise(SIGKILL);
    }
    const auto start = std::chrono::steady_clock::now();
    try {
      work.wait();
    } catch (const minim::CommError& error) {
      const bool in_time = std::chrono::steady_clock::now() - start < std::chrono::seconds(10);
      std::cout << "rank " + std::to_string(group->rank()) + (in_time ? ": " : " too late: ") + error.what() + "\n" << std::flush;
    }
  }
  _exit(1);
}
