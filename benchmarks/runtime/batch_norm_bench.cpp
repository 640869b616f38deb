// Batch normalisation with ReLU, and with the addition of a shortcut in front of it, over FP16 storage against oneDNN's FP32
// primitives on the same values, one thread, alternating in one run.
//
// The bound of both is memory. oneDNN puts the ReLU into the primitive, but not behind an addition: there it takes a second
// primitive, as our backward pass does.
//
//   batch_norm_bench [--short]

#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <dnnl.hpp>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "minim/runtime/backend.h"
#include "minim/runtime/kernels/batch_norm.h"
#include "minim/runtime/kernels/elementwise.h"

namespace minim {
namespace {

constexpr double kEpsilon = 1e-5;

/// A batch normalisation of ResNet-50 at 224 pixels.
struct Layer {
  std::int64_t size, channels;
  bool adds;
  int count;  ///< how often the network has it
};

// The last of each block adds the shortcut; those on the shortcut itself have no ReLU and are left out.
constexpr Layer kLayers[] = {{112, 64, false, 1}, {56, 64, false, 6},  {56, 256, true, 3},  {56, 128, false, 1},
                             {28, 128, false, 7}, {28, 512, true, 4},  {28, 256, false, 1}, {14, 256, false, 11},
                             {14, 1024, true, 6}, {14, 512, false, 1}, {7, 512, false, 5},  {7, 2048, true, 3}};

enum class Pass { forward, backward };

template <class T>
void fill(std::span<T> values, std::uint32_t state) {
  for (T& v : values) {
    state = state * 1664525U + 1013904223U;
    v = round_to<T>(static_cast<float>(state >> 24U) / 64.0F - 2.0F);  // exact in FP16
  }
}

/// Both passes of a layer, ready to run.
class Candidate {
 public:
  virtual ~Candidate() = default;
  virtual void run(Pass pass) = 0;
  virtual float y(std::int64_t i) const = 0;
  virtual float dx(std::int64_t i) const = 0;

  /// Of one run, over `runs` of them.
  double seconds(Pass pass, int runs) {
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < runs; ++i) run(pass);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / runs;
  }
};

class Own final : public Candidate {
 public:
  Own(const Layer& layer, std::int64_t batch) : backend_(make_cpu_backend(1)), stream_(backend_->make_stream("benchmark")) {
    const Shape shape{batch, layer.size, layer.size, layer.channels};
    const auto halves = [&](std::uint32_t seed) {
      Tensor tensor = backend_->allocate_tensor(DType::fp16, shape, MemoryKind::activations);
      fill(tensor.span<Half>(), seed);
      return tensor;
    };
    const auto channels = [&](float value) {
      Tensor tensor = backend_->allocate_tensor(DType::fp32, {layer.channels}, MemoryKind::activations);
      std::ranges::fill(tensor.span<float>(), value);
      return tensor;
    };
    x_ = halves(1), shortcut_ = halves(2), dy_ = halves(3), y_ = halves(4), dx_ = halves(5), masked_ = halves(6);
    gamma_ = channels(1), beta_ = channels(0), mean_ = channels(0), rstd_ = channels(0), dgamma_ = channels(0),
    dbeta_ = channels(0);
    prepare(forward_, BatchNormForward{.x = x_,
                                       .gamma = gamma_,
                                       .beta = beta_,
                                       .addend = layer.adds ? ConstTensorView(shortcut_) : ConstTensorView(),
                                       .y = y_,
                                       .mean = mean_,
                                       .rstd = rstd_,
                                       .epsilon = kEpsilon,
                                       .activation = Activation::relu});
    if (layer.adds) backward_.push_back(backend_->prepare(ReluBackward{.y = y_, .dy = dy_, .dx = masked_}));
    prepare(backward_, BatchNormBackward{.x = x_,
                                         .dy = layer.adds ? masked_ : dy_,
                                         .gamma = gamma_,
                                         .beta = beta_,
                                         .mean = mean_,
                                         .rstd = rstd_,
                                         .dx = dx_,
                                         .dgamma = dgamma_,
                                         .dbeta = dbeta_,
                                         .activation = layer.adds ? Activation::none : Activation::relu});
  }

  void run(Pass pass) override {
    for (const auto& call : pass == Pass::forward ? forward_ : backward_) call->launch(*stream_);
    stream_->synchronize();
  }
  float y(std::int64_t i) const override { return to_float(y_.span<Half>()[i]); }
  float dx(std::int64_t i) const override { return to_float(dx_.span<Half>()[i]); }

 private:
  template <class Args>
  void prepare(std::vector<std::unique_ptr<KernelCall>>& calls, Args args) {
    args.workspace = workspaces_.emplace_back(
        backend_->allocate_tensor(DType::uint8, {backend_->workspace_bytes(args)}, MemoryKind::workspace));
    calls.push_back(backend_->prepare(args));
  }

  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Stream> stream_;
  Tensor x_, shortcut_, dy_, y_, dx_, masked_, gamma_, beta_, mean_, rstd_, dgamma_, dbeta_;
  std::vector<Tensor> workspaces_;
  std::vector<std::unique_ptr<KernelCall>> forward_, backward_;
};

class OneDnn final : public Candidate {
 public:
  OneDnn(const Layer& layer, std::int64_t batch) : engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {
    using dnnl::memory;
    using enum dnnl::normalization_flags;
    const auto epsilon = static_cast<float>(kEpsilon);
    const memory::desc images({batch, layer.channels, layer.size, layer.size}, memory::data_type::f32, memory::format_tag::nhwc);
    const memory::desc channels({layer.channels}, memory::data_type::f32, memory::format_tag::x);
    const auto flags = layer.adds ? use_scale | use_shift : use_scale | use_shift | fuse_norm_relu;
    const dnnl::batch_normalization_forward::primitive_desc normalize(
        dnnl::batch_normalization_forward::desc(dnnl::prop_kind::forward_training, images, epsilon, flags), engine_);
    const dnnl::batch_normalization_backward::primitive_desc derive(
        dnnl::batch_normalization_backward::desc(dnnl::prop_kind::backward, images, images, epsilon, flags), engine_, normalize);
    const memory x = filled(images, 1), shortcut = filled(images, 2), dy = filled(images, 3);
    y_ = filled(images, 4), dx_ = filled(images, 5);
    const memory masked = filled(images, 6), scale = constant(channels, 1), shift = constant(channels, 0),
                 dscale = constant(channels, 0), dshift = constant(channels, 0), mean = constant(channels, 0),
                 variance = constant(channels, 0);
    Arguments forward = {{DNNL_ARG_SRC, x},     {DNNL_ARG_SCALE, scale},       {DNNL_ARG_SHIFT, shift},
                         {DNNL_ARG_MEAN, mean}, {DNNL_ARG_VARIANCE, variance}, {DNNL_ARG_DST, y_}};
    Arguments backward = {{DNNL_ARG_SRC, x},
                          {DNNL_ARG_SCALE, scale},
                          {DNNL_ARG_SHIFT, shift},
                          {DNNL_ARG_MEAN, mean},
                          {DNNL_ARG_VARIANCE, variance},
                          {DNNL_ARG_DIFF_DST, layer.adds ? masked : dy},
                          {DNNL_ARG_DIFF_SRC, dx_},
                          {DNNL_ARG_DIFF_SCALE, dscale},
                          {DNNL_ARG_DIFF_SHIFT, dshift}};
    if (!layer.adds) forward[DNNL_ARG_WORKSPACE] = backward[DNNL_ARG_WORKSPACE] = memory(normalize.workspace_desc(), engine_);
    forward_.emplace_back(dnnl::batch_normalization_forward(normalize), forward);
    if (layer.adds) {
      dnnl::primitive_attr relu;
      dnnl::post_ops after;
      after.append_eltwise(1, dnnl::algorithm::eltwise_relu, 0, 0);
      relu.set_post_ops(after);
      const dnnl::binary::primitive_desc add(dnnl::binary::desc(dnnl::algorithm::binary_add, images, images, images), relu,
                                             engine_);
      forward_.emplace_back(dnnl::binary(add), Arguments{{DNNL_ARG_SRC_0, y_}, {DNNL_ARG_SRC_1, shortcut}, {DNNL_ARG_DST, y_}});
      const auto algorithm = dnnl::algorithm::eltwise_relu_use_dst_for_bwd;
      const dnnl::eltwise_forward::primitive_desc activate(
          dnnl::eltwise_forward::desc(dnnl::prop_kind::forward_training, algorithm, images, 0), engine_);
      const dnnl::eltwise_backward::primitive_desc mask(dnnl::eltwise_backward::desc(algorithm, images, images, 0), engine_,
                                                        activate);
      backward_.emplace_back(dnnl::eltwise_backward(mask),
                             Arguments{{DNNL_ARG_DST, y_}, {DNNL_ARG_DIFF_DST, dy}, {DNNL_ARG_DIFF_SRC, masked}});
    }
    backward_.emplace_back(dnnl::batch_normalization_backward(derive), backward);
  }

  void run(Pass pass) override {
    for (const auto& [primitive, arguments] : pass == Pass::forward ? forward_ : backward_) primitive.execute(stream_, arguments);
    stream_.wait();
  }
  float y(std::int64_t i) const override { return static_cast<const float*>(y_.get_data_handle())[i]; }
  float dx(std::int64_t i) const override { return static_cast<const float*>(dx_.get_data_handle())[i]; }

 private:
  using Arguments = std::unordered_map<int, dnnl::memory>;

  dnnl::memory filled(const dnnl::memory::desc& desc, std::uint32_t seed) const {
    dnnl::memory memory(desc, engine_);
    fill(std::span(static_cast<float*>(memory.get_data_handle()), desc.get_size() / sizeof(float)), seed);
    return memory;
  }
  dnnl::memory constant(const dnnl::memory::desc& desc, float value) const {
    dnnl::memory memory(desc, engine_);
    std::ranges::fill(std::span(static_cast<float*>(memory.get_data_handle()), desc.get_size() / sizeof(float)), value);
    return memory;
  }

  dnnl::engine engine_;
  dnnl::stream stream_;
  dnnl::memory y_, dx_;
  std::vector<std::pair<dnnl::primitive, Arguments>> forward_, backward_;
};

/// Values are of a magnitude of 4 at most: what FP16 makes of them, of statistics of them, and of a mask that it decides.
bool agree(const Candidate& a, const Candidate& b, std::int64_t elements) {
  std::int64_t apart = 0;
  for (std::int64_t i = 0; i < elements; ++i) {
    if (!(std::abs(a.y(i) - b.y(i)) <= 0x1p-8)) return false;
    if (!(std::abs(a.dx(i) - b.dx(i)) <= 0x1p-6)) ++apart;
  }
  return apart * 1000 <= elements;
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

/// Seconds of both passes of a layer, oneDNN's and ours, added to the sums. False when results disagree.
bool measure(const Layer& layer, std::int64_t batch, double seconds, double (&sums)[2][2]) {
  OneDnn fp32(layer, batch);
  Own fp16(layer, batch);
  for (const Pass pass : {Pass::forward, Pass::backward}) {
    fp32.run(pass);
    fp16.run(pass);
  }
  const std::string label = fmt::format("{0}x{0} {1}{2}", layer.size, layer.channels, layer.adds ? ", added" : "");
  if (!agree(fp32, fp16, batch * layer.size * layer.size * layer.channels)) {
    std::cout << label << ": fp16 and fp32 results disagree\n";
    return false;
  }
  std::cout << fmt::format("{:<20}", label);
  for (const Pass pass : {Pass::forward, Pass::backward}) {
    const int runs = static_cast<int>(std::clamp(2e-3 / fp32.seconds(pass, 1), 1.0, 1000.0));
    std::vector<double> a, b, ratios;
    for (double spent = 0; spent < seconds || ratios.size() < 3; spent += (a.back() + b.back()) * runs) {
      a.push_back(fp32.seconds(pass, runs));
      b.push_back(fp16.seconds(pass, runs));
      ratios.push_back(a.back() / b.back());
    }
    std::cout << fmt::format(" {:>9.3f} {:>9.3f} {:>6.2f}", median(a) * 1e3, median(b) * 1e3, median(ratios));
    auto& [theirs, ours] = sums[pass == Pass::forward ? 0 : 1];
    theirs += median(a) * layer.count;
    ours += median(b) * layer.count;
  }
  std::cout << std::endl;
  return true;
}

bool measure_all(bool brief) {
  const std::int64_t batch = brief ? 1 : 16;
  std::cout << fmt::format(
      "ResNet-50, batch {}, one thread: oneDNN fp32 ms, fp16 ms, how many times faster\n{:<20} {:>26} {:>26}\n", batch, "layer",
      "forward", "backward");
  double sums[2][2] = {};
  bool good = true;
  for (const Layer& layer : kLayers) good = measure(layer, batch, brief ? 0 : 0.3, sums) && good;
  std::cout << fmt::format("{:<20}", "whole network");
  for (const auto& [theirs, ours] : sums)
    std::cout << fmt::format(" {:>9.2f} {:>9.2f} {:>6.2f}", theirs * 1e3, ours * 1e3, theirs / ours);
  std::cout << std::endl;
  return good;
}

}  // namespace
}  // namespace minim

int main(int argc, char** argv) {
  omp_set_num_threads(1);  // oneDNN's
  const bool brief = argc > 1 && std::string_view(argv[1]) == "--short";
  return minim::measure_all(brief) ? EXIT_SUCCESS : EXIT_FAILURE;
}
