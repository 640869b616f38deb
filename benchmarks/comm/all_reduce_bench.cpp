// FP16 all-reduce of the `mpi` communicator against MPI_Allreduce in FP32 with as many elements: as a caller gets it by default
// (out of place, one call), and tuned (in place, pieces of 2 MB, warm pages). Its arrays lie on huge pages where the system has
// them: with small ones Open MPI's single-copy transfers take twice as long here. Run by mpirun with one rank per core.
//
// Bound: memory. With P ranks and n elements each rank reads its n / P elements of P copies and writes them to P copies: 2n bytes
// read, 2n written, as much as if it updated its own n elements in place. The yardstick does that, in all ranks at once.
// The three all-reduces and the yardstick alternate in rounds; the time of a round is that of its slowest rank, and a ratio is
// the median of the ratios round by round.
//
//   mpirun -np 2 --bind-to core all_reduce_bench [--short] [--json FILE]

#include <fmt/format.h>
#include <mpi.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "minim/comm/mpi.h"
#include "mpi_main.h"

namespace minim {
namespace {

struct Options {
  bool brief = false;
  std::string json;
};

int rank() {
  int result = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &result);
  return result;
}

int ranks() {
  int result = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &result);
  return result;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Half the distance between the quartiles, as a fraction of the median.
double spread(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return (values[values.size() * 3 / 4] - values[values.size() / 4]) / 2 / median(values);
}

/// The time, in ns, that a store of one rank takes to be seen by another: half of the quickest of many round trips between the
/// first two ranks. Cores that share a cache need some 25 to 80 ns here, others 200 and more.
class CoreDistance {
 public:
  CoreDistance() {
    MPI_Win_allocate_shared(rank() == 0 ? 64 : 0, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &own_, &window_);
    MPI_Aint size = 0;
    int unit = 0;
    MPI_Win_shared_query(window_, 0, &size, &unit, &shared_);
    flag_ = rank() == 0 ? new (shared_) std::atomic<int>(0) : static_cast<std::atomic<int>*>(shared_);
    MPI_Barrier(MPI_COMM_WORLD);
  }
  ~CoreDistance() { MPI_Win_free(&window_); }
  CoreDistance(const CoreDistance&) = delete;
  CoreDistance& operator=(const CoreDistance&) = delete;

  double measure() {
    constexpr int kTrips = 200;
    constexpr int kSamples = 20;
    double best = INFINITY;
    for (int sample = 0; sample < kSamples && ranks() > 1; ++sample) {
      if (rank() == 0) flag_->store(0);
      MPI_Barrier(MPI_COMM_WORLD);
      const double begin = MPI_Wtime();
      for (int trip = 0; trip < kTrips && rank() < 2; ++trip) {
        while (flag_->load(std::memory_order_acquire) != 2 * trip + rank()) __builtin_ia32_pause();
        flag_->store(2 * trip + rank() + 1, std::memory_order_release);
      }
      best = std::min(best, (MPI_Wtime() - begin) / (2 * kTrips) * 1e9);
      MPI_Barrier(MPI_COMM_WORLD);
    }
    MPI_Bcast(&best, 1, MPI_DOUBLE, 0, MPI_COMM_WORLD);
    return best;
  }

 private:
  void* own_ = nullptr;
  void* shared_ = nullptr;
  MPI_Win window_ = MPI_WIN_NULL;
  std::atomic<int>* flag_ = nullptr;
};
constexpr double kSharedCacheNs = 120;  // between the two distances seen

/// Zeros on huge pages, touched.
template <class T>
class WarmArray {
 public:
  explicit WarmArray(std::int64_t elements) : elements_(static_cast<std::size_t>(elements)) {
    constexpr std::size_t kHugePage = 2 << 20;
    const std::size_t size_bytes = (elements_ * sizeof(T) + kHugePage - 1) / kHugePage * kHugePage;
    data_.reset(static_cast<T*>(std::aligned_alloc(kHugePage, size_bytes)));
    if (!data_) throw std::bad_alloc();
    ::madvise(data_.get(), size_bytes, MADV_HUGEPAGE);
    clear();
  }
  void clear() { std::fill_n(data_.get(), elements_, T{}); }
  T* data() const { return data_.get(); }
  T& operator[](std::int64_t i) const { return data_.get()[i]; }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::size_t elements_;
  std::unique_ptr<T, Free> data_;
};

struct Arrays {
  Buffer fp16;
  WarmArray<float> fp32;
  WarmArray<float> result;
  WarmArray<std::uint64_t> own;
};

struct Contender {
  std::string_view name;
  std::function<void(std::int64_t elements)> run;
};

std::vector<Contender> contenders(Communicator& group, Arrays& arrays) {
  const auto count = [](std::int64_t elements) { return static_cast<int>(elements); };
  return {
      {"fp16",
       [&](std::int64_t elements) {
         group.all_reduce({arrays.fp16.data(), DType::fp16, Shape{elements}}, {}, {.label = "bench", .after = {}}).wait();
       }},
      {"mpi default",
       [&, count](std::int64_t elements) {
         MPI_Allreduce(arrays.fp32.data(), arrays.result.data(), count(elements), MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
       }},
      {"mpi tuned",
       [&, count](std::int64_t elements) {
         constexpr std::int64_t kPiece = (2 << 20) / sizeof(float);
         for (std::int64_t begin = 0; begin < elements; begin += kPiece) {
           MPI_Allreduce(MPI_IN_PLACE, arrays.result.data() + begin, count(std::min(kPiece, elements - begin)), MPI_FLOAT,
                         MPI_SUM, MPI_COMM_WORLD);
         }
       }},
      {"update",
       [&](std::int64_t elements) {
         const std::int64_t words = elements * size_bytes(DType::fp16) / size_bytes(DType::int64);
         for (std::int64_t i = 0; i < words; ++i) arrays.own[i] ^= 0x5555555555555555U;
       }},
  };
}

/// Both all-reduces add small integers exactly; throws where a sum is wrong.
void check_results(Communicator& group, Arrays& arrays, std::int64_t elements) {
  auto* const halves = static_cast<Half*>(arrays.fp16.data());
  const auto value = [](int of_rank, std::int64_t i) { return static_cast<float>((i * 7 + of_rank * 13) % 64); };
  for (std::int64_t i = 0; i < elements; ++i) {
    arrays.fp32[i] = value(rank(), i);
    halves[i] = to_half(value(rank(), i));
  }
  const auto all = contenders(group, arrays);
  all[0].run(elements);
  all[1].run(elements);
  for (std::int64_t i = 0; i < elements; ++i) {
    float sum = 0;
    for (int r = 0; r < ranks(); ++r) sum += value(r, i);
    if (to_float(halves[i]) != sum || arrays.result[i] != sum) throw std::runtime_error("a sum is wrong");
  }
}

/// Zeros, so that sums stay what they are however often they are taken.
void clear(Arrays& arrays) {
  std::memset(arrays.fp16.data(), 0, static_cast<std::size_t>(arrays.fp16.size_bytes()));
  arrays.fp32.clear();
  arrays.result.clear();
}

/// Seconds of each contender in each round, the same on all ranks.
std::vector<std::vector<double>> measure(const std::vector<Contender>& all, std::int64_t elements, double seconds) {
  // A sample is long enough for the clock and for ranks that leave the barrier at different times.
  const int repeats = static_cast<int>(std::clamp<std::int64_t>((1 << 21) / elements, 1, 500));
  std::vector<std::vector<double>> times(all.size());
  for (const Contender& contender : all) contender.run(elements);
  constexpr int kFewestRounds = 5;
  const double begin = MPI_Wtime();
  int again = 1;
  for (int round = 0; again != 0; ++round) {
    for (std::size_t c = 0; c < all.size(); ++c) {
      MPI_Barrier(MPI_COMM_WORLD);
      const double start = MPI_Wtime();
      for (int i = 0; i < repeats; ++i) all[c].run(elements);
      double time = (MPI_Wtime() - start) / repeats;
      MPI_Allreduce(MPI_IN_PLACE, &time, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
      times[c].push_back(time);
    }
    again = round + 1 < kFewestRounds || MPI_Wtime() - begin < seconds ? 1 : 0;
    MPI_Bcast(&again, 1, MPI_INT, 0, MPI_COMM_WORLD);
  }
  return times;
}

double median_ratio(const std::vector<double>& times, const std::vector<double>& baseline) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < times.size(); ++i) ratios.push_back(times[i] / baseline[i]);
  return median(std::move(ratios));
}

std::string row(std::int64_t elements, const std::vector<std::vector<double>>& times, double distance_ns) {
  const double own = median(times[0]);
  return fmt::format("{:>10} {:>10.2f} ±{:>3.0f}% {:>11.2f} {:>11.2f} {:>9.2f}x {:>9.2f}x {:>8.1f} {:>8.2f} {:>6.0f}\n", elements,
                     own * 1e6, spread(times[0]) * 100, median(times[1]) * 1e6, median(times[2]) * 1e6,
                     median_ratio(times[1], times[0]), median_ratio(times[2], times[0]),
                     static_cast<double>(elements) * 2e-9 / own, median_ratio(times[3], times[0]), distance_ns);
}

std::string json_line(std::int64_t elements, const std::vector<std::vector<double>>& times, double distance_ns) {
  return fmt::format(
      R"({{"benchmark": "all_reduce", "ranks": {}, "elements": {}, "fp16_us": {:.3f}, "mpi_default_us": {:.3f}, "mpi_tuned_us": {:.3f}, )"
      R"("default_over_fp16": {:.3f}, "tuned_over_fp16": {:.3f}, "update_over_fp16": {:.3f}, "core_distance_ns": {:.0f}}})"
      "\n",
      ranks(), elements, median(times[0]) * 1e6, median(times[1]) * 1e6, median(times[2]) * 1e6, median_ratio(times[1], times[0]),
      median_ratio(times[2], times[0]), median_ratio(times[3], times[0]), distance_ns);
}

void run(const Options& options) {
  const std::int64_t most = options.brief ? 1 << 18 : 32 << 20;
  const double seconds = options.brief ? 0.05 : 2.0;
  const auto group = make_mpi_communicator(MPI_COMM_WORLD);
  const auto backend = make_reference_backend();
  Arrays arrays{.fp16 = group->allocate(*backend, most * size_bytes(DType::fp16), MemoryKind::gradients),
                .fp32 = WarmArray<float>(most),
                .result = WarmArray<float>(most),
                .own = WarmArray<std::uint64_t>(most * size_bytes(DType::fp16) / size_bytes(DType::int64))};
  check_results(*group, arrays, std::min<std::int64_t>(most, (1 << 20) + 13));
  clear(arrays);

  CoreDistance distance;
  std::string lines;
  if (rank() == 0) {
    std::cout
        << fmt::format(
               "all-reduce over {} ranks, {} nodes: FP16 through shared memory against MPI_Allreduce in FP32, times in us\n",
               ranks(), group->nodes())
        << fmt::format("{:>10} {:>16} {:>11} {:>11} {:>10} {:>10} {:>8} {:>8} {:>6}\n", "elements", "fp16", "MPI default",
                       "MPI tuned", "default/", "tuned/", "GB/s", "of bound", "ns");
  }
  std::vector<double> distances;
  const auto all = contenders(*group, arrays);
  for (std::int64_t elements = 512; elements <= most; elements *= 4) {
    const double before = distance.measure();
    const auto times = measure(all, elements, seconds);
    distances.push_back(std::max(before, distance.measure()));
    if (rank() != 0) continue;
    std::cout << row(elements, times, distances.back()) << std::flush;
    lines += json_line(elements, times, distances.back());
  }
  if (rank() != 0) return;
  const auto [nearest, farthest] = std::minmax_element(distances.begin(), distances.end());
  std::cout << fmt::format(
      "ns: from core to core one way, {:.0f} to {:.0f}: the cores {} a cache\n", *nearest, *farthest,
      *farthest < kSharedCacheNs ? "share" : (*nearest < kSharedCacheNs ? "shared at times" : "do not share"));
  if (!options.json.empty()) std::ofstream(options.json, std::ios::app) << lines;
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--short") {
      options.brief = true;
    } else if (argument == "--json" && i + 1 < argc) {
      options.json = argv[++i];
    } else {
      throw std::runtime_error(fmt::format("unknown option {}; usage: all_reduce_bench [--short] [--json FILE]", argument));
    }
  }
  return options;
}

}  // namespace
}  // namespace minim

int main(int argc, char** argv) {
  return minim::mpi_main(argc, argv, "all_reduce_bench", [&] { minim::run(minim::parse(argc, argv)); });
}
