#include "minim/model/zoo.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "minim/runtime/error.h"
#include "model/bound_plan.h"

namespace minim::test {
namespace {

constexpr ImageTask kFashion{};
constexpr ImageTask kCifar{.height = 32, .width = 32, .channels = 3, .classes = 10};
constexpr ImageTask kImageNet{.height = 224, .width = 224, .channels = 3, .classes = 1000};

struct Network {
  Network(std::string_view name, const ImageTask& task, const ZooOptions& options = {}, Graph::Mode mode = Graph::Mode::training)
      : graph(model, mode) {
    build_classifier(graph, name, task, options);
  }
  std::int64_t parameters() const { return model.parameter_count(); }
  std::unique_ptr<Plan> compile(Backend& backend) const { return Plan::compile(graph, backend, {.precision = Precision::mixed}); }

  Model model;
  Graph graph;
};

/// Multiplications of convolutions and products, forward, one image: what publications count.
double multiplications(const Plan& plan) {
  double flops = 0;
  for (const OperationCost& cost : plan.costs()) {
    if (!cost.backward && (cost.type == "conv2d" || cost.type == "linear")) flops += cost.flops;
  }
  return flops / 2;
}

TEST(Zoo, ParameterCountsAreThePublishedOnes) {
  // 156 + 2,416 + 48,120 + 10,164 + 850.
  EXPECT_EQ(Network("lenet", kFashion).parameters(), 61'706);
  // torchvision's documentation of resnet18 and resnet50, "num_params".
  EXPECT_EQ(Network("resnet-18", kImageNet).parameters(), 11'689'512);
  EXPECT_EQ(Network("resnet-50", kImageNet).parameters(), 25'557'032);
  // The CIFAR form with a 3 x 3 stem as in the widely used github.com/kuangliu/pytorch-cifar.
  EXPECT_EQ(Network("resnet-18", kCifar).parameters(), 11'173'962);
  EXPECT_EQ(Network("resnet-50", kCifar).parameters(), 23'520'842);
}

TEST(Zoo, WorkIsThePublishedOne) {
  const auto backend = make_reference_backend();
  // torchvision's documentation, "GFLOPS" (which are multiplications): 1.81 and 4.09 per image.
  constexpr double kLastDigit = 0.01e9;
  EXPECT_NEAR(multiplications(*Network("resnet-18", kImageNet).compile(*backend)), 1.81e9, kLastDigit);
  EXPECT_NEAR(multiplications(*Network("resnet-50", kImageNet).compile(*backend)), 4.09e9, kLastDigit);
}

TEST(Zoo, ParametersHaveTorchvisionsNames) {
  const Network network("resnet-50", kImageNet);
  const auto& all = network.model.parameters();
  EXPECT_EQ(all.front()->name, "conv1.weight");
  EXPECT_EQ(all.front()->shape, (Shape{64, 3, 7, 7}));
  EXPECT_EQ(all.back()->name, "fc.bias");
  const auto find = [&](const std::string& name) { return std::ranges::find(all, name, [](const auto& p) { return p->name; }); };
  ASSERT_NE(find("layer3.0.downsample.0.weight"), all.end());
  EXPECT_EQ((*find("layer3.0.downsample.0.weight"))->shape, (Shape{1024, 512, 1, 1}));
  ASSERT_NE(find("layer2.1.bn3.bias"), all.end());
}

TEST(Zoo, StrideOfBottlenecksIsInTheirMiddle) {
  const Network network("resnet-50", kImageNet);
  for (const Graph::Node& node : network.graph.nodes()) {
    if (node.name == "layer2.0.conv1") {
      EXPECT_EQ(network.graph.spec(node.outputs[0]).shape[1], 56);
    }
    if (node.name == "layer2.0.conv2") {
      EXPECT_EQ(network.graph.spec(node.outputs[0]).shape[1], 28);
    }
  }
}

TEST(Zoo, StemFollowsTheSizeOfImages) {
  const auto size_before_blocks = [](std::int64_t pixels) {
    const Network network("resnet-18", {.height = pixels, .width = pixels, .channels = 3, .classes = 10});
    for (const Graph::Node& node : network.graph.nodes()) {
      if (node.name == "layer1.0.conv1") return network.graph.spec(node.inputs[0]).shape[1];
    }
    return std::int64_t{0};
  };
  EXPECT_EQ(size_before_blocks(64), 16);
  EXPECT_EQ(size_before_blocks(63), 63);
  EXPECT_EQ(size_before_blocks(28), 28);
}

TEST(Zoo, WidthScalesResnets) {
  EXPECT_EQ(Network("resnet-18", kFashion, {.width = 16}).model.parameters().front()->shape, (Shape{16, 1, 3, 3}));
  EXPECT_LT(Network("resnet-18", kFashion, {.width = 16}).parameters(), 11'173'962 / 15);
}

TEST(Zoo, UnknownNamesAndTooSmallImagesAreRefused) {
  const auto refusal = [](std::string_view name, const ImageTask& task) -> std::string {
    try {
      Network(name, task);
    } catch (const InvalidArgument& error) {
      return error.what();
    }
    return "nothing was thrown";
  };
  EXPECT_EQ(refusal("resnet-19", kCifar), "unknown model \"resnet-19\", known are lenet, resnet-18, resnet-50");
  EXPECT_EQ(refusal("lenet", {.height = 28, .width = 11}), "lenet: images have 28 x 11 pixels, wanted at least 12 x 12");
  EXPECT_EQ(refusal("resnet-50", {.height = 7, .width = 7}), "resnet-50: images have 7 x 7 pixels, wanted at least 8 x 8");
  EXPECT_EQ(refusal("lenet", {.height = 12, .width = 12}), "nothing was thrown");
  EXPECT_EQ(refusal("resnet-50", {.height = 8, .width = 8}), "nothing was thrown");
}

TEST(Zoo, TrainsAStepInMixedPrecisionWithFiniteResults) {
  const auto backend = make_cpu_backend(1);
  for (const std::string& name : zoo_names()) {
    Network network(name, kCifar, {.width = 16});
    ParameterMemory memory(network.model, *backend, Precision::mixed);
    memory.set_loss_scale(64);
    BoundPlan bound(network.graph, *backend, memory, {.precision = Precision::mixed, .batch = 4, .nominal_weight = 4});
    bound.set_images(1, 10);
    bound.step();
    EXPECT_EQ(bound->output("logits").shape(), (Shape{4, 10})) << name;
    EXPECT_EQ(bound.get("weight")[0], 4) << name;
    EXPECT_GT(bound.get("loss")[0], 0) << name;
    EXPECT_EQ(bound->trained().size(), network.model.parameters().size()) << name;
    for (const float g : gradients(bound->trained())) ASSERT_TRUE(std::isfinite(g)) << name;
    for (const Parameter* p : bound->trained()) {
      const std::vector<float> g = floats(p->gradient);
      EXPECT_TRUE(std::ranges::any_of(g, [](float v) { return v != 0; })) << name << " " << p->name;
    }
  }
}

}  // namespace
}  // namespace minim::test
