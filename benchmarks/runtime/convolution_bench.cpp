// Convolution over FP16 storage against our FP32 kernel on the same values, one thread, alternating in one run.
//
// The bound of both is the FP32 multiply-add rate of the core: 2 N OH OW O KH KW C / groups floating-point operations a pass.
// FP16 can win because it moves half the bytes, and loses what conversion costs; the ratio of times says which.
//
//   convolution_bench [--short] [--network PREFIX] [--batch N] [--threads N]

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "minim/runtime/backend.h"
#include "minim/runtime/kernels/convolution.h"

namespace minim {
namespace {

struct Layer {
  std::int64_t size, channels, outputs, kernel, stride, pad;
  int count;  ///< how often the network has it

  std::int64_t out() const { return conv_output_size(size, kernel, stride, 2 * pad, 1); }
  double flops(std::int64_t batch) const {
    return 2.0 * static_cast<double>(batch * out() * out() * outputs * kernel * kernel * channels);
  }
};

struct Network {
  std::string_view name;
  std::int64_t batch;
  std::vector<Layer> layers;
};

std::vector<Network> networks() {
  return {{"resnet-50",
           16,
           {{224, 3, 64, 7, 2, 3, 1},    {56, 64, 64, 1, 1, 0, 1},    {56, 64, 64, 3, 1, 1, 3},    {56, 64, 256, 1, 1, 0, 4},
            {56, 256, 64, 1, 1, 0, 2},   {56, 256, 128, 1, 1, 0, 1},  {56, 128, 128, 3, 2, 1, 1},  {28, 128, 128, 3, 1, 1, 3},
            {28, 128, 512, 1, 1, 0, 4},  {28, 512, 128, 1, 1, 0, 3},  {56, 256, 512, 1, 2, 0, 1},  {28, 512, 256, 1, 1, 0, 1},
            {28, 256, 256, 3, 2, 1, 1},  {14, 256, 256, 3, 1, 1, 5},  {14, 256, 1024, 1, 1, 0, 6}, {14, 1024, 256, 1, 1, 0, 5},
            {28, 512, 1024, 1, 2, 0, 1}, {14, 1024, 512, 1, 1, 0, 1}, {14, 512, 512, 3, 2, 1, 1},  {7, 512, 512, 3, 1, 1, 2},
            {7, 512, 2048, 1, 1, 0, 3},  {7, 2048, 512, 1, 1, 0, 2},  {14, 1024, 2048, 1, 2, 0, 1}}},
          {"resnet-18 of width 16, 28 pixels",
           64,
           {{28, 1, 16, 3, 1, 1, 1},
            {28, 16, 16, 3, 1, 1, 4},
            {28, 16, 32, 3, 2, 1, 1},
            {28, 16, 32, 1, 2, 0, 1},
            {14, 32, 32, 3, 1, 1, 3},
            {14, 32, 64, 3, 2, 1, 1},
            {14, 32, 64, 1, 2, 0, 1},
            {7, 64, 64, 3, 1, 1, 3},
            {7, 64, 128, 3, 2, 1, 1},
            {7, 64, 128, 1, 2, 0, 1},
            {4, 128, 128, 3, 1, 1, 3}}},
          {"lenet", 64, {{28, 1, 6, 5, 1, 2, 1}, {14, 6, 16, 5, 1, 0, 1}}}};
}

enum class Pass { forward, backward_data, backward_weights };
constexpr Pass kPasses[] = {Pass::forward, Pass::backward_data, Pass::backward_weights};
constexpr std::string_view kPassNames[] = {"forward", "backward data", "backward weights"};

/// One pass of one layer in one storage type, ready to run.
class Candidate {
 public:
  Candidate(Backend& backend, Stream& stream, const Layer& layer, std::int64_t batch, Pass pass, DType dtype)
      : stream_(stream),
        x_(filled(backend, dtype, {batch, layer.size, layer.size, layer.channels})),
        w_(filled(backend, dtype, {layer.outputs, layer.kernel, layer.kernel, layer.channels})),
        y_(filled(backend, dtype, {batch, layer.out(), layer.out(), layer.outputs})),
        result_(pass == Pass::forward         ? y_
                : pass == Pass::backward_data ? x_
                                              : w_) {
    const Conv2dGeometry geometry{.stride_h = layer.stride,
                                  .stride_w = layer.stride,
                                  .pad_top = layer.pad,
                                  .pad_left = layer.pad,
                                  .pad_bottom = layer.pad,
                                  .pad_right = layer.pad};
    if (pass == Pass::forward) {
      prepare(backend, Conv2dForward{.x = x_, .w = w_, .bias = {}, .y = y_, .geometry = geometry, .workspace = {}});
    } else if (pass == Pass::backward_data) {
      prepare(backend, Conv2dBackwardData{.dy = y_, .w = w_, .dx = x_, .geometry = geometry, .workspace = {}});
    } else {
      prepare(backend, Conv2dBackwardWeights{.x = x_, .dy = y_, .dw = w_, .dbias = {}, .geometry = geometry, .workspace = {}});
    }
  }

  /// Seconds of one run, over `runs` of them.
  double seconds(int runs) const {
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < runs; ++i) call_->launch(stream_);
    stream_.synchronize();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / runs;
  }

  float result(std::int64_t i) const {
    return result_.dtype() == DType::fp32 ? result_.span<float>()[i] : to_float(result_.span<Half>()[i]);
  }
  std::int64_t elements() const { return result_.elements(); }

 private:
  /// Multiples of 2^-8 in [-1/2, 1/2): exact in FP16.
  static Tensor filled(Backend& backend, DType dtype, const Shape& shape) {
    Tensor tensor = backend.allocate_tensor(dtype, shape, MemoryKind::activations);
    dispatch_floating(dtype, [&](auto t) {
      std::uint32_t state = 1;
      for (auto& v : tensor.span<decltype(t)>()) {
        state = state * 1664525U + 1013904223U;
        v = round_to<decltype(t)>(static_cast<float>(state >> 24U) / 256.0F - 0.5F);
      }
    });
    return tensor;
  }

  template <class Args>
  void prepare(Backend& backend, Args args) {
    workspace_ = backend.allocate_tensor(DType::uint8, {backend.workspace_bytes(args)}, MemoryKind::workspace);
    args.workspace = workspace_;
    call_ = backend.prepare(args);
  }

  Stream& stream_;
  Tensor x_, w_, y_, result_, workspace_;
  std::unique_ptr<KernelCall> call_;
};

/// Both sum `products` exact products of at most 1/4 in FP32, in different orders, and one rounds to FP16.
bool agree(const Candidate& fp32, const Candidate& fp16, double products) {
  const double accumulation = 2 * products * 0x1p-24 * products / 4;
  for (std::int64_t i = 0; i < fp32.elements(); ++i) {
    const double exact = fp32.result(i);
    if (!(std::abs(fp16.result(i) - exact) <= accumulation + 0x1p-11 * std::abs(exact) + 0x1p-25)) return false;
  }
  return true;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Measurement {
  double fp32_s, fp16_s;
  double ratio, lowest, highest;  ///< of FP16 to FP32 time, run by run
};

Measurement measure(const Candidate& fp32, const Candidate& fp16, double seconds) {
  const int runs = static_cast<int>(std::clamp(2e-3 / fp32.seconds(1), 1.0, 1000.0));
  std::vector<double> a, b, ratios;
  for (double spent = 0; spent < seconds || ratios.size() < 3; spent += (a.back() + b.back()) * runs) {
    a.push_back(fp32.seconds(runs));
    b.push_back(fp16.seconds(runs));
    ratios.push_back(b.back() / a.back());
  }
  const auto [lowest, highest] = std::minmax_element(ratios.begin(), ratios.end());
  return {median(a), median(b), median(ratios), *lowest, *highest};
}

struct Options {
  bool brief = false;
  std::string_view network;  ///< what the names of the networks start with
  std::int64_t batch = 0;    ///< 0: the network's own
  int threads = 1;
};

class Benchmark {
 public:
  explicit Benchmark(Options options)
      : options_(options), backend_(make_cpu_backend(options.threads)), stream_(backend_->make_stream("benchmark")) {}

  /// False when results disagree.
  bool run(const Network& network) const {
    const std::int64_t batch = options_.batch > 0 ? options_.batch : options_.brief ? 2 : network.batch;
    std::cout << fmt::format("\n{}, batch {}, {} thread{}\n{:<34} {:>9} {:>9} {:>8} {:>6}  {}\n", network.name, batch,
                             options_.threads, options_.threads == 1 ? "" : "s", "pass", "fp32 ms", "GFLOP/s", "fp16 ms", "ratio",
                             "lowest-highest");
    double all_fp32 = 0, all_fp16 = 0;
    bool good = true;
    for (std::size_t pass = 0; pass < std::size(kPasses); ++pass) {
      double fp32 = 0, fp16 = 0;
      for (const Layer& layer : network.layers) {
        // Nobody wants gradients of the images.
        if (kPasses[pass] == Pass::backward_data && layer.channels <= 3) continue;
        good = run(layer, batch, kPasses[pass], fp32, fp16) && good;
      }
      std::cout << fmt::format("{:<34} {:>9.2f} {:>9} {:>8.2f} {:>6.3f}\n", fmt::format("{}, whole network", kPassNames[pass]),
                               fp32 * 1e3, "", fp16 * 1e3, fp16 / fp32);
      all_fp32 += fp32;
      all_fp16 += fp16;
    }
    std::cout << fmt::format("{:<34} {:>9.2f} {:>9} {:>8.2f} {:>6.3f}\n", "all passes", all_fp32 * 1e3, "", all_fp16 * 1e3,
                             all_fp16 / all_fp32);
    return good;
  }

 private:
  bool run(const Layer& layer, std::int64_t batch, Pass pass, double& fp32_sum, double& fp16_sum) const {
    const Candidate fp32(*backend_, *stream_, layer, batch, pass, DType::fp32),
        fp16(*backend_, *stream_, layer, batch, pass, DType::fp16);
    fp32.seconds(1);
    fp16.seconds(1);
    const std::string label = fmt::format("{}x{} {}-{} k{} s{} {}", layer.size, layer.size, layer.channels, layer.outputs,
                                          layer.kernel, layer.stride, kPassNames[static_cast<std::size_t>(pass)]);
    const double products = layer.flops(batch) / 2 / static_cast<double>(fp32.elements());
    if (!agree(fp32, fp16, products)) {
      std::cout << label << ": fp16 and fp32 results disagree\n";
      return false;
    }
    const Measurement m = measure(fp32, fp16, options_.brief ? 0 : 0.3);
    std::cout << fmt::format("{:<34} {:>9.3f} {:>9.0f} {:>8.3f} {:>6.3f}  {:.2f}-{:.2f}\n", label, m.fp32_s * 1e3,
                             layer.flops(batch) / m.fp32_s * 1e-9, m.fp16_s * 1e3, m.ratio, m.lowest, m.highest)
              << std::flush;
    fp32_sum += m.fp32_s * layer.count;
    fp16_sum += m.fp16_s * layer.count;
    return true;
  }

  Options options_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Stream> stream_;
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (option == "--short") options.brief = true;
    if (option == "--network" && i + 1 < argc) options.network = argv[++i];
    if (option == "--batch" && i + 1 < argc) options.batch = std::atoll(argv[++i]);
    if (option == "--threads" && i + 1 < argc) options.threads = std::atoi(argv[++i]);
  }
  return options;
}

}  // namespace
}  // namespace minim

int main(int argc, char** argv) {
  const minim::Options options = minim::parse(argc, argv);
  const minim::Benchmark benchmark(options);
  bool good = true;
  for (const minim::Network& network : minim::networks()) {
    if (network.name.starts_with(options.network)) good = benchmark.run(network) && good;
  }
  return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
