#include <gtest/gtest.h>

#include <algorithm>
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

}  // namespace
}  // namespace minim::test
