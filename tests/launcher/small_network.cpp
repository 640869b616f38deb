#include "launcher/small_network.h"

#include "minim/runtime/half.h"
#include "minim/runtime/philox.h"

namespace minim::testing {

float pixel(std::int64_t sample, std::int64_t i) {
  const auto bits = philox({static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(sample), 0, 0}, {7, 7});
  return static_cast<float>(bits[0] >> 27U) / 16.0F - 1.0F;
}

void build_network(Graph& graph) {
  const Value count = graph.input("valid_samples", ElementType::int32, Shape{1});
  Value x = graph.input("images", ElementType::activation, Shape{Shape::kBatch, kImageSize, kImageSize, 1}, count);
  const Value labels = graph.input("labels", ElementType::int32, Shape{Shape::kBatch}, count);
  x = graph.conv2d("conv", x, 6,
                   {.kernel_h = 3, .kernel_w = 3, .geometry = {.pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1}, .bias = true});
  x = graph.max_pool("pool", graph.relu("relu", x), {});
  finish_network(graph, graph.linear("fc", graph.flatten("flatten", x), kClasses), labels);
}

void finish_network(Graph& graph, Value logits, Value labels) {
  const LossValues loss = graph.softmax_cross_entropy("loss", logits, labels);
  graph.output("loss", loss.loss);
  graph.output("weight", loss.weight);
  graph.output("correct", loss.correct);
}

void send(Backend& backend, Stream& stream, const TensorView& input, const std::function<void(const TensorView&)>& write) {
  const Tensor host = backend.allocate_host_tensor(input.dtype(), input.shape(), MemoryKind::staging);
  write(host);
  stream.copy(input, host);
  stream.enqueue([host] {});
}

void fill(Backend& backend, Stream& stream, const Plan& plan, std::int64_t first, std::int64_t valid) {
  send(backend, stream, plan.input("images"), [&](const TensorView& images) {
    const std::int64_t per_sample = images.shape().elements_per_sample();
    fill_floating(images, [&](std::int64_t i) {
      const std::int64_t sample = i / per_sample;
      return sample < valid ? pixel(first + sample, i % per_sample) : 0.0F;
    });
  });
  send(backend, stream, plan.input("labels"), [&](const TensorView& labels) {
    for (std::int64_t n = 0; n < labels.elements(); ++n) {
      labels.data<std::int32_t>()[n] = n < valid ? static_cast<std::int32_t>((first + n) % kClasses) : 0;
    }
  });
  send(backend, stream, plan.input("valid_samples"),
       [&](const TensorView& count) { count.data<std::int32_t>()[0] = static_cast<std::int32_t>(valid); });
}

void fill_floating(const TensorView& view, const std::function<float(std::int64_t)>& value) {
  dispatch_floating(view.dtype(), [&]<class T>(T) {
    for (std::int64_t i = 0; i < view.elements(); ++i) view.data<T>()[i] = round_to<T>(value(i));
  });
}

OptimizerConfig sgd(double learning_rate, float loss_scale) {
  OptimizerConfig config;
  config.rule = SgdRule{.momentum = 0.9};
  config.loss_scale = {.initial = loss_scale};
  config.schedule = {.base = learning_rate, .total_steps = 1000};
  return config;
}

}  // namespace minim::testing
