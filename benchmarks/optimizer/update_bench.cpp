// The fused Adam pass over FP16 gradients and weights, FP32 master weights and moments, against an in-place update of as many
// bytes.
//
// Bound: memory bandwidth. The pass moves 28 bytes a parameter: gradient 2 in; master weight, mean and square 4 in and 4 out
// each; weight 2 out. The yardstick is STREAM-like, a[i] += q * b[i] in FP32, 12 bytes an element, over 28/12 as many elements,
// with the widest vectors of the machine, in the same threads. The two alternate; the ratio of their bandwidths is taken pair by
// pair.
//
//   update_bench [--short] [--threads N] [--parameters N] [--json FILE]

#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "minim/optimizer/step_state.h"
#include "minim/optimizer/update_rule.h"

namespace minim {
namespace {

constexpr double kBytesPerParameter = 28;
constexpr double kBytesPerElement = 12;

struct Options {
  bool brief = false;
  int threads = 1;
  std::int64_t parameters = 32 << 20;
  std::string json;
};

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// A slice of parameters and its prepared update.
class Slice {
 public:
  Slice(Backend& backend, std::int64_t elements) : stream_(backend.make_stream("update")) {
    add_update_kernels(backend);
    gradient_ = make(backend, DType::fp16, elements, 0x1p-4F);
    weight_ = make(backend, DType::fp16, elements, 0.1F);
    master_ = make(backend, DType::fp32, elements, 0.1F);
    moment1_ = make(backend, DType::fp32, elements, 0x1p-10F);
    moment2_ = make(backend, DType::fp32, elements, 0x1p-16F);
    state_ = backend.allocate_tensor(DType::uint8, Shape{sizeof(StepState)}, MemoryKind::state);
    overflow_ = backend.allocate_tensor(DType::int32, Shape{1}, MemoryKind::state);
    StepState state;
    state.last_applied = 1;
    state.applied = 10;
    state.learning_rate = 0x1p-20F;  // stays in range however often it is applied
    state.unscale[0] = 0x1p-10F;
    std::memcpy(state_.view().raw(), &state, sizeof state);
    overflow_.span<std::int32_t>()[0] = kNoOverflow;
    update_ = backend.prepare(ApplyUpdate{.rule = AdamRule{},
                                          .segments = {{.begin = 0, .end = elements, .parameter = 0, .weight_decay = 0x1p-10F}},
                                          .gradient = gradient_,
                                          .master = master_,
                                          .moment1 = moment1_,
                                          .moment2 = moment2_,
                                          .weight = weight_,
                                          .state = state_,
                                          .ratios = {},
                                          .overflow = overflow_});
  }

  double seconds() const {
    const auto begin = std::chrono::steady_clock::now();
    update_->launch(*stream_);
    stream_->synchronize();
    return seconds_since(begin);
  }
  bool equals(const Slice& other) const {
    const auto same = [](const Tensor& a, const Tensor& b) {
      return std::memcmp(a.view().raw(), b.view().raw(), static_cast<std::size_t>(a.view().size_bytes())) == 0;
    };
    return same(weight_, other.weight_) && same(master_, other.master_) && same(moment1_, other.moment1_) &&
           same(moment2_, other.moment2_);
  }

 private:
  static Tensor make(Backend& backend, DType dtype, std::int64_t elements, float scale) {
    Tensor tensor = backend.allocate_tensor(dtype, Shape{elements}, MemoryKind::weights);
    dispatch_floating(dtype, [&](auto type) {
      std::int64_t i = 0;
      for (auto& value : tensor.span<decltype(type)>()) value = round_to<decltype(type)>(static_cast<float>(i++ % 251) * scale);
    });
    return tensor;
  }

  Tensor gradient_, weight_, master_, moment1_, moment2_, state_, overflow_;
  std::unique_ptr<KernelCall> update_;
  std::unique_ptr<Stream> stream_;
};

__attribute__((target_clones("default", "avx2", "avx512f"))) void add_scaled(float* a, const float* b, float q,
                                                                             std::int64_t begin, std::int64_t end) {
  for (std::int64_t i = begin; i < end; ++i) a[i] += q * b[i];
}

/// a += q * b over arrays that together make as many bytes as a slice's update.
class Yardstick {
 public:
  Yardstick(Backend& backend, std::int64_t elements, int threads)
      : threads_(threads),
        elements_(elements),
        a_(backend.allocate_tensor(DType::fp32, Shape{elements}, MemoryKind::workspace)),
        b_(backend.allocate_tensor(DType::fp32, Shape{elements}, MemoryKind::workspace)),
        stream_(backend.make_stream("yardstick")) {
    std::ranges::fill(a_.span<float>(), 1.0F);
    std::ranges::fill(b_.span<float>(), 1.0F);
  }

  double seconds() {
    const auto begin = std::chrono::steady_clock::now();
    stream_->enqueue([this] { run(); });
    stream_->synchronize();
    runs_ += 1;
    return seconds_since(begin);
  }
  /// Every element has been added to once a run.
  bool is_right() const {
    const auto values = a_.span<float>();
    return std::ranges::all_of(values, [this](float value) { return value == 1 + static_cast<float>(runs_) * kQ; });
  }

 private:
  static constexpr float kQ = 0x1p-12F;

  void run() const {
    float* const a = a_.span<float>().data();
    const float* const b = b_.span<float>().data();
#pragma omp parallel num_threads(threads_)
    {
      const std::int64_t part = elements_ / threads_, thread = omp_get_thread_num();
      add_scaled(a, b, kQ, thread * part, thread + 1 == threads_ ? elements_ : (thread + 1) * part);
    }
  }

  int threads_;
  int runs_ = 0;
  std::int64_t elements_;
  Tensor a_, b_;
  std::unique_ptr<Stream> stream_;
};

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

bool agrees_with_reference() {
  constexpr std::int64_t kElements = 1001;
  const auto cpu = make_cpu_backend(1), reference = make_reference_backend();
  const Slice fast(*cpu, kElements), plain(*reference, kElements);
  fast.seconds();
  plain.seconds();
  return fast.equals(plain);
}

int run(const Options& options) {
  if (!agrees_with_reference()) {
    std::cerr << "update_bench: the fused pass and the reference kernel differ\n";
    return EXIT_FAILURE;
  }
  const auto backend = make_cpu_backend(options.threads);
  const Slice slice(*backend, options.parameters);
  const double bytes = static_cast<double>(options.parameters) * kBytesPerParameter;
  Yardstick yardstick(*backend, static_cast<std::int64_t>(bytes / kBytesPerElement), options.threads);
  for (int warm = 0; warm < 2; ++warm) {
    slice.seconds();
    yardstick.seconds();
  }
  const int pairs = options.brief ? 3 : 41;
  std::vector<double> update, stream, ratios;
  for (int pair = 0; pair < pairs; ++pair) {
    update.push_back(bytes / slice.seconds() * 1e-9);
    stream.push_back(bytes / yardstick.seconds() * 1e-9);
    ratios.push_back(update.back() / stream.back());
  }
  if (!yardstick.is_right()) {
    std::cerr << "update_bench: the in-place update is wrong\n";
    return EXIT_FAILURE;
  }
  const auto [lowest, highest] = std::ranges::minmax(ratios);
  std::cout << fmt::format("fused Adam, {} parameters, {} bytes each, {} thread{}\n", options.parameters, kBytesPerParameter,
                           options.threads, options.threads == 1 ? "" : "s")
            << fmt::format("fused pass        {:6.1f} GB/s  {:.3f} Gparameters/s\n", median(update),
                           median(update) / kBytesPerParameter)
            << fmt::format("in-place update   {:6.1f} GB/s\n", median(stream))
            << fmt::format("ratio             {:6.3f}       ({:.3f} to {:.3f} over {} pairs)\n", median(ratios), lowest, highest,
                           pairs);
  if (!options.json.empty()) {
    std::ofstream file(options.json);
    file << fmt::format(R"({{"benchmark": "fused Adam", "parameters": {}, "threads": {}, "update_gb_per_s": {:.2f}, )"
                        R"("in_place_gb_per_s": {:.2f}, "ratio": {:.4f}, "ratio_lowest": {:.4f}, "ratio_highest": {:.4f}}})",
                        options.parameters, options.threads, median(update), median(stream), median(ratios), lowest, highest)
         << '\n';
    if (!file.flush()) {
      std::cerr << fmt::format("update_bench: cannot write \"{}\"\n", options.json);
      return EXIT_FAILURE;
    }
  }
  return EXIT_SUCCESS;
}

int main_of(std::vector<std::string_view> arguments) {
  Options options;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const bool has_value = i + 1 < arguments.size();
    if (arguments[i] == "--short") {
      options.brief = true;
      options.parameters = 1 << 20;
    } else if (arguments[i] == "--threads" && has_value) {
      options.threads = std::stoi(std::string(arguments[++i]));
    } else if (arguments[i] == "--parameters" && has_value) {
      options.parameters = std::stoll(std::string(arguments[++i]));
    } else if (arguments[i] == "--json" && has_value) {
      options.json = arguments[++i];
    } else {
      std::cerr << "usage: update_bench [--short] [--threads N] [--parameters N] [--json FILE]\n";
      return EXIT_FAILURE;
    }
  }
  return run(options);
}

}  // namespace
}  // namespace minim

int main(int argc, char** argv) { return minim::main_of({argv + 1, argv + argc}); }
