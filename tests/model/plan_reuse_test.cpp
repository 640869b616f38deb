#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "minim/runtime/philox.h"
#include "model/bound_plan.h"

namespace minim::test {
namespace {

constexpr std::int64_t kBatch = 3, kClasses = 5;

/// A graph of random operations over random earlier values: values with many consumers, with none, with aliased gradients.
class RandomGraph {
 public:
  RandomGraph(Graph& graph, std::uint32_t seed) : graph_(graph), seed_(seed) {
    const Value valid = graph_.input("valid_samples", ElementType::int32, Shape{1});
    const Value images = graph_.input("images", ElementType::activation, Shape{Shape::kBatch, 3, 4, kChannels}, valid);
    const Value labels = graph_.input("labels", ElementType::int32, Shape{Shape::kBatch}, valid);
    values_ = {images};
    for (int i = 0; i < kOperations; ++i) values_.push_back(operation(fmt::format("op{}", i)));
    const Value end = graph_.sum("end", {values_.back(), pick(), pick()});
    const Value logits = graph_.linear("fc", graph_.flatten("flatten", end), kClasses);
    graph_.output("logits", logits);
    graph_.output("middle", pick());
    graph_.output("loss", graph_.softmax_cross_entropy("loss", logits, labels).loss);
  }

 private:
  static constexpr std::int64_t kChannels = 4;
  static constexpr int kOperations = 16;

  std::uint32_t draw() { return philox({count_++, 0, 0, 0}, {seed_, 1})[0]; }
  Value pick() { return values_[draw() % values_.size()]; }

  Value convolution(const std::string& name, Value x, std::int64_t window) {
    Conv2dOptions options{.kernel_h = window, .kernel_w = window, .bias = true};
    options.geometry.pad_top = options.geometry.pad_left = options.geometry.pad_bottom = options.geometry.pad_right = window / 2;
    return graph_.conv2d(name, x, kChannels, options);
  }

  Value operation(const std::string& name) {
    switch (draw() % 8) {
      case 0: return graph_.sum(name, {pick(), pick()});
      case 1: return graph_.sum(name, {pick(), pick(), pick()});
      case 2: return graph_.batch_norm(name, pick());
      case 3: return graph_.dropout(name, pick(), 0.25);
      case 4: return convolution(name, graph_.concat(name + ".concat", {pick(), pick()}), 1);
      case 5: return convolution(name, pick(), 3);
      case 6:
        return graph_.max_pool(name, pick(),
                               {.window_h = 3,
                                .window_w = 3,
                                .stride_h = 1,
                                .stride_w = 1,
                                .pad_top = 1,
                                .pad_left = 1,
                                .pad_bottom = 1,
                                .pad_right = 1});
      default: return graph_.relu(name, pick());
    }
  }

  Graph& graph_;
  std::uint32_t seed_, count_ = 0;
  std::vector<Value> values_;
};

struct Results {
  std::vector<float> logits, middle, loss, gradients;
  friend bool operator==(const Results&, const Results&) = default;
};

/// A step on memory that holds NaN wherever nothing has been written in the step.
Results step(PoisonedBackend& backend, BoundPlan& bound) {
  for (const auto kind : {MemoryKind::activations, MemoryKind::workspace, MemoryKind::gradients}) backend.poison(kind);
  bound.set_images(5, kClasses);
  bound.step();
  return {bound.get("logits"), bound.get("middle"), bound.get("loss"), gradients(bound->trained())};
}

class PlanReuse : public testing::TestWithParam<Precision> {};

/// Kernels are the same and compute in the same order, so that every bit must agree.
TEST_P(PlanReuse, OfMemoryChangesNoResult) {
  for (std::uint32_t seed = 0; seed < 60; ++seed) {
    PoisonedBackend backend;
    Model model;
    Graph graph(model, Graph::Mode::training);
    RandomGraph(graph, seed);
    const ParameterMemory memory(model, backend, GetParam());
    CompileOptions options{.precision = GetParam(), .batch = kBatch};
    BoundPlan reusing(graph, backend, memory, options);
    options.reuse_memory = false;
    BoundPlan keeping(graph, backend, memory, options);
    ASSERT_LT(reusing->memory().activations_bytes, keeping->memory().activations_bytes);
    const Results wanted = step(backend, keeping);
    ASSERT_TRUE(std::ranges::none_of(wanted.gradients, [](float g) { return std::isnan(g); })) << "seed " << seed;
    ASSERT_EQ(step(backend, reusing), wanted) << "seed " << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(All, PlanReuse, testing::Values(Precision::fp32, Precision::mixed),
                         [](const auto& instance) { return std::string(name(instance.param)); });

}  // namespace
}  // namespace minim::test
