// FP16 all-reduce of a bucket over NCCL, as the trainer calls it: how fast, and what of it the agreement of the hosts leaves when
// one follows the other. A table in Markdown, of bytes that a rank contributes by the time of one all-reduce, and of what crosses
// a rank's links for it when it goes round a ring: 2 (W - 1) / W as much. Run by mpirun, each rank with a GPU of its own.
//
//   mpirun -np 8 nccl_bench [--short]

#include <fmt/format.h>
#include <mpi.h>

#include <chrono>
#include <iostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "command/device_survey.h"
#include "minim/comm/mpi.h"
#include "minim/comm/nccl.h"
#include "minim/runtime/cuda.h"
#include "mpi_main.h"

namespace minim {
namespace {

std::unique_ptr<Backend> open_device(const Communicator& group) {
  const auto report = command::look_for_device(group, /*wanted=*/true);
  if (report.name.empty()) throw std::runtime_error(report.reason);
  return make_cuda_backend({.device = report.device});
}

class Bench {
 public:
  Bench(Communicator& group, Backend& backend, std::int64_t most_bytes)
      : group_(group), backend_(backend), memory_(group.allocate(backend, most_bytes, MemoryKind::gradients)) {}

  /// Adds small integers, whose sums are exact in any order.
  void check(std::int64_t elements) {
    const TensorView data = bucket(elements);
    const auto value = [](int rank, std::size_t i) {
      return static_cast<float>((i * 7 + static_cast<std::size_t>(rank) * 13) % 64);
    };
    std::vector<Half> halves(static_cast<std::size_t>(elements));
    for (std::size_t i = 0; i < halves.size(); ++i) halves[i] = to_half(value(group_.rank(), i));
    backend_.copy(data, {halves.data(), DType::fp16, data.shape()});
    enqueue(data).wait();
    backend_.copy({halves.data(), DType::fp16, data.shape()}, data);
    for (std::size_t i = 0; i < halves.size(); ++i) {
      float sum = 0;
      for (int rank = 0; rank < group_.size(); ++rank) sum += value(rank, i);
      if (to_float(halves[i]) != sum) throw std::runtime_error(fmt::format("the sum of element {} is wrong", i));
    }
  }

  /// Seconds of one of `repeats` all-reduces that follow each other.
  double seconds(std::int64_t elements, int repeats) {
    const TensorView data = bucket(elements);
    const std::vector<Half> zeros(static_cast<std::size_t>(elements));  // sums stay what they are
    backend_.copy(data, {zeros.data(), DType::fp16, data.shape()});
    enqueue(data).wait();
    MPI_Barrier(MPI_COMM_WORLD);
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 1; i < repeats; ++i) enqueue(data);
    enqueue(data).wait();
    double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / repeats;
    MPI_Allreduce(MPI_IN_PLACE, &took, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    return took;
  }

 private:
  TensorView bucket(std::int64_t elements) const { return {memory_.data(), DType::fp16, Shape{elements}}; }
  Work enqueue(TensorView data) { return group_.all_reduce(data, {}, {.label = "bench", .after = {}}); }

  Communicator& group_;
  Backend& backend_;
  Buffer memory_;
};

void run(bool brief) {
  const auto group = make_mpi_communicator(MPI_COMM_WORLD);
  const auto backend = open_device(*group);
  use_nccl(*group, *backend);
  const std::int64_t most_bytes = std::int64_t{brief ? 1 : 256} << 20U;
  Bench bench(*group, *backend, most_bytes);
  bench.check(most_bytes / 4);
  if (group->rank() == 0) std::cout << "| MiB | us | GB/s | GB/s on the links |\n|---:|---:|---:|---:|\n";
  for (std::int64_t size = most_bytes / 256; size <= most_bytes; size *= 4) {
    const double seconds = bench.seconds(size / size_bytes(DType::fp16), brief ? 2 : 50);
    const double rate = static_cast<double>(size) * 1e-9 / seconds;
    if (group->rank() != 0) continue;
    std::cout << fmt::format("| {:.3g} | {:.1f} | {:.1f} | {:.1f} |\n", static_cast<double>(size) / (1 << 20), seconds * 1e6,
                             rate, rate * 2 * (group->size() - 1) / group->size());
  }
}

}  // namespace
}  // namespace minim

int main(int argc, char** argv) {
  return minim::mpi_main(argc, argv, "nccl_bench", [&] {
    const bool brief = argc == 2 && std::string_view(argv[1]) == "--short";
    if (argc > 1 && !brief) throw std::runtime_error("usage: nccl_bench [--short]");
    minim::run(brief);
  });
}
