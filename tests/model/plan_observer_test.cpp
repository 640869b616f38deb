#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "minim/model/operations.h"
#include "minim/model/zoo.h"
#include "model/bound_plan.h"

namespace minim::test {
namespace {

/// Lets a pass have each weight only from its `before_use` on, and takes each gradient at its `gradient_ready`.
class Gatekeeper final : public PlanObserver {
 public:
  explicit Gatekeeper(const Model& model) {
    for (const auto& p : model.parameters()) {
      weights_[p.get()] = floats(p->weight);
      hide(*p);
    }
  }

  void before_use(const Parameter& parameter, Stream& stream) override {
    order.push_back("use " + parameter.name);
    stream.enqueue([this, &parameter] { assign(parameter.weight, weights_.at(&parameter)); });
  }
  void gradient_ready(const Parameter& parameter, Stream& stream) override {
    order.push_back("ready " + parameter.name);
    stream.enqueue([this, &parameter] { taken[&parameter] = floats(parameter.gradient); });
  }
  void hide_weights() {
    for (const auto& [parameter, values] : weights_) hide(*parameter);
  }

  std::vector<std::string> order;
  std::map<const Parameter*, std::vector<float>> taken;

 private:
  static void hide(const Parameter& parameter) {
    const auto count = static_cast<std::size_t>(parameter.weight.elements());
    assign(parameter.weight, std::vector<float>(count, std::numeric_limits<float>::quiet_NaN()));
  }
  std::map<const Parameter*, std::vector<float>> weights_;
};

/// What the costs of a plan say that both passes announce.
std::vector<std::string> announced(const std::vector<OperationCost>& costs) {
  std::vector<std::string> order;
  for (const OperationCost& cost : costs) {
    for (const Parameter* parameter : cost.used_first) order.push_back("use " + parameter->name);
    for (const Parameter* parameter : cost.gradient_ready) order.push_back("ready " + parameter->name);
  }
  return order;
}

struct PlanObserverTest : testing::Test {
  PoisonedBackend backend;
  Model model;
  Graph graph{model, Graph::Mode::training};

  /// Both passes with weights that are there only once announced, against both passes without an observer.
  std::vector<std::string> expect_gates_hold(const CompileOptions& options, int classes) {
    const ParameterMemory memory(model, backend, options.precision);
    BoundPlan bound(graph, backend, memory, options);
    bound.set_images(3, classes);
    bound.step();
    const std::vector<float> loss = bound.get("loss"), wanted = gradients(bound->trained());

    Gatekeeper gatekeeper(model);
    backend.poison(MemoryKind::gradients);
    bound.forward(false, &gatekeeper);
    gatekeeper.hide_weights();
    bound.backward(false, &gatekeeper);
    EXPECT_EQ(bound.get("loss"), loss);
    EXPECT_EQ(gradients(bound->trained()), wanted);
    EXPECT_EQ(gatekeeper.taken.size(), bound->trained().size());
    EXPECT_EQ(gatekeeper.order, announced(bound->costs()));
    for (const auto& [parameter, gradient] : gatekeeper.taken)
      EXPECT_EQ(gradient, floats(parameter->gradient)) << parameter->name;
    return gatekeeper.order;
  }
};

TEST_F(PlanObserverTest, WeightsAreAnnouncedBeforeTheirFirstUseAndGradientsWhenComplete) {
  build_classifier(graph, "resnet-18", {.height = 8, .width = 8, .channels = 1, .classes = 3}, {.width = 4});
  const std::vector<std::string> order = expect_gates_hold({.precision = Precision::mixed, .batch = 2}, 3);
  for (const auto& p : model.parameters()) EXPECT_EQ(std::ranges::count(order, "ready " + p->name), 1) << p->name;
}

TEST_F(PlanObserverTest, AWeightUsedTwiceIsAnnouncedOncePerPassAndItsGradientAfterTheLastUse) {
  const Value x = graph.input("images", ElementType::activation, Shape{Shape::kBatch, 4});
  const Value labels = graph.input("labels", ElementType::int32, Shape{Shape::kBatch});
  graph.input("valid_samples", ElementType::int32, Shape{1});
  Parameter shared;
  shared.name = "w";
  shared.shape = Shape{4, 4};
  shared.initializer = Initializer::uniform(1);
  Parameter& w = model.parameter(shared);
  Value y = graph.add("first", make_linear(w.shape, {.bias = false}), {x}, {&w}).front();
  y = graph.linear("middle", y, 4, {.bias = false});
  y = graph.add("last", make_linear(w.shape, {.bias = false}), {y}, {&w}).front();
  graph.output("loss", graph.softmax_cross_entropy("loss", y, labels).loss);
  const std::vector<std::string> wanted{"use w",  "use middle.weight", "use w", "ready middle.weight", "use middle.weight",
                                        "ready w"};
  EXPECT_EQ(expect_gates_hold({.precision = Precision::fp32, .batch = 3}, 4), wanted);
}

TEST_F(PlanObserverTest, FrozenParametersAreAnnouncedButNeverReady) {
  build_classifier(graph, "lenet", {});
  const auto order = expect_gates_hold(
      {.precision = Precision::mixed, .batch = 2, .trainable = [](const Parameter& p) { return p.name.starts_with("fc2"); }}, 10);
  EXPECT_EQ(std::ranges::count(order, "use conv1.weight"), 1) << "backward does not get there";
  EXPECT_EQ(std::ranges::count_if(order, [](const std::string& event) { return event.starts_with("ready"); }), 2);
}

/// Copies what is completed while it is there.
class Copier final : public PlanObserver {
 public:
  void before_use(const Parameter& /*parameter*/, Stream& /*stream*/) override {}
  void gradient_ready(const Parameter& /*parameter*/, Stream& /*stream*/) override {}
  void completed(const CompletedTensor& tensor, Stream& stream) override {
    order.push_back((tensor.is_gradient ? "d " : "") + tensor.node->name);
    copies.emplace_back();
    stream.enqueue([this, &tensor, i = copies.size() - 1] { copies[i] = floats(tensor.tensor); });
  }

  std::vector<std::string> order;
  std::vector<std::vector<float>> copies;
};

/// Both passes of a network, as they were observed.
Copier observe(const Graph& graph, Model& model, PoisonedBackend& backend, const CompileOptions& options, int classes) {
  const ParameterMemory memory(model, backend, options.precision);
  BoundPlan bound(graph, backend, memory, options);
  bound.set_images(3, classes);
  Copier copier;
  copier.copies.reserve(1000);
  bound.forward(false, &copier);
  bound.backward(false, &copier);
  return copier;
}

TEST_F(PlanObserverTest, CompletedTensorsAreShownBeforeTheirMemoryIsUsedAnew) {
  for (const char* network : {"resnet-18", "lenet"}) {
    Model own;
    Graph classifier(own, Graph::Mode::training);
    build_classifier(classifier, network, {.height = 12, .width = 12, .channels = 1, .classes = 3}, {.width = 4});
    CompileOptions options{.precision = Precision::mixed, .batch = 2};
    const Copier reusing = observe(classifier, own, backend, options, 3);
    options.reuse_memory = false;
    const Copier keeping = observe(classifier, own, backend, options, 3);
    EXPECT_EQ(reusing.order, keeping.order) << network;
    ASSERT_EQ(reusing.copies.size(), keeping.copies.size()) << network;
    for (std::size_t i = 0; i < reusing.copies.size(); ++i) {
      EXPECT_EQ(reusing.copies[i], keeping.copies[i]) << network << ", " << reusing.order[i];
      EXPECT_TRUE(std::ranges::none_of(keeping.copies[i], [](float x) { return std::isnan(x); })) << reusing.order[i];
    }
  }
}

TEST_F(PlanObserverTest, ActivationsAreCompletedForwardAndTheirGradientsBackward) {
  build_classifier(graph, "lenet", {});
  const Copier copier = observe(graph, model, backend, {.precision = Precision::fp32, .batch = 2, .nominal_weight = 2}, 10);
  const std::vector<std::string> forward{"conv1", "pool1", "conv2", "pool2", "fc1", "fc2", "fc3"};
  std::vector<std::string> wanted = forward;
  for (auto name = forward.rbegin(); name != forward.rend(); ++name) wanted.push_back("d " + *name);
  EXPECT_EQ(copier.order, wanted);
  // (softmax(logits) - one-hot of the label) / 2
  const auto& logits = copier.copies[6];
  const auto& gradient = copier.copies[7];
  ASSERT_EQ(logits.size(), 20U);
  ASSERT_EQ(gradient.size(), 20U);
  for (std::size_t row = 0; row < 2; ++row) {
    double sum = 0;
    int labels = 0;
    for (std::size_t k = 0; k < 10; ++k) sum += std::exp(double{logits[10 * row + k]});
    for (std::size_t k = 0; k < 10; ++k) {
      const double softmax = std::exp(double{logits[10 * row + k]}) / sum, found = 2 * gradient[10 * row + k];
      if (std::abs(found - (softmax - 1)) < 1e-5) {
        ++labels;
      } else {
        EXPECT_NEAR(found, softmax, 1e-5);
      }
    }
    EXPECT_EQ(labels, 1);
  }
}

}  // namespace
}  // namespace minim::test
