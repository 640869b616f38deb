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
constexpr ImageTask kInception{.height = 299, .width = 299, .channels = 3, .classes = 1000};

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
  // torchvision's documentation, "num_params".
  EXPECT_EQ(Network("alexnet", kImageNet).parameters(), 61'100'840);
  EXPECT_EQ(Network("vgg-d", kImageNet).parameters(), 138'357'544);
  EXPECT_EQ(Network("resnet-18", kImageNet).parameters(), 11'689'512);
  EXPECT_EQ(Network("resnet-34", kImageNet).parameters(), 21'797'672);
  EXPECT_EQ(Network("resnet-50", kImageNet).parameters(), 25'557'032);
  EXPECT_EQ(Network("resnet-101", kImageNet).parameters(), 44'549'160);
  EXPECT_EQ(Network("inception-v3", kInception, {}, Graph::Mode::training).parameters(), 27'161'264);
  // PyPI's pretrainedmodels, "bninception", whose convolutions have biases besides.
  EXPECT_EQ(Network("inception-v2", kImageNet).parameters(), 11'295'240 - 10'016);
  // The CIFAR form with a 3 x 3 stem as in the widely used github.com/kuangliu/pytorch-cifar.
  EXPECT_EQ(Network("resnet-18", kCifar).parameters(), 11'173'962);
  EXPECT_EQ(Network("resnet-50", kCifar).parameters(), 23'520'842);
}

TEST(Zoo, AuxiliaryClassifiersAreThereInTrainingOnly) {
  EXPECT_EQ(Network("googlenet", kImageNet, {}, Graph::Mode::training).parameters(), 13'378'280);
  EXPECT_EQ(Network("googlenet", kImageNet, {}, Graph::Mode::evaluation).parameters(), 6'998'552);
  EXPECT_EQ(Network("inception-v3", kInception, {}, Graph::Mode::evaluation).parameters(), 23'834'568);
}

TEST(Zoo, WorkIsThePublishedOne) {
  const auto backend = make_reference_backend();
  struct Row {
    std::string_view model;
    double multiplications;
  };
  // torchvision's documentation, "GFLOPS" (which are multiplications), per image.
  constexpr Row kRows[] = {{"alexnet", 0.71e9},   {"vgg-d", 15.47e9},     {"resnet-18", 1.81e9},   {"resnet-34", 3.66e9},
                           {"resnet-50", 4.09e9}, {"resnet-101", 7.80e9}, {"inception-v3", 5.71e9}};
  constexpr double kLastDigit = 0.01e9;
  for (const Row& row : kRows) {
    const ImageTask& task = row.model == "inception-v3" ? kInception : kImageNet;
    const Network network(row.model, task, {}, Graph::Mode::evaluation);
    EXPECT_NEAR(multiplications(*network.compile(*backend)), row.multiplications, kLastDigit) << row.model;
  }
}

TEST(Zoo, ShapesAreThePublishedOnes) {
  struct Row {
    std::string_view model, operation;
    std::int64_t pixels, channels;
  };
  // The tables of the papers that the networks' sources name; of inception4c and 4d the sums of their branches, which the table
  // contradicts.
  constexpr Row kRows[] = {{"alexnet", "features.12", 6, 256},        {"vgg-d", "features.30", 7, 512},
                           {"resnet-34", "maxpool", 56, 64},          {"resnet-34", "layer4.2.bn2", 7, 512},
                           {"resnet-101", "layer3.22.bn3", 14, 1024}, {"resnet-101", "layer4.2.bn3", 7, 2048},
                           {"googlenet", "pool2", 28, 192},           {"googlenet", "inception3b", 28, 480},
                           {"googlenet", "inception4a", 14, 512},     {"googlenet", "inception4e", 14, 832},
                           {"googlenet", "inception5b", 7, 1024},     {"inception-v2", "pool2", 28, 192},
                           {"inception-v2", "inception3b", 28, 320},  {"inception-v2", "inception3c", 14, 576},
                           {"inception-v2", "inception4b", 14, 576},  {"inception-v2", "inception4d", 14, 608},
                           {"inception-v2", "inception5b", 7, 1024},  {"inception-v3", "maxpool1", 73, 64},
                           {"inception-v3", "maxpool2", 35, 192},     {"inception-v3", "Mixed_5d", 35, 288},
                           {"inception-v3", "Mixed_6e", 17, 768},     {"inception-v3", "Mixed_7c", 8, 2048}};
  for (const Row& row : kRows) {
    const Network network(row.model, row.model == "inception-v3" ? kInception : kImageNet);
    const auto& nodes = network.graph.nodes();
    const auto found = std::ranges::find(nodes, row.operation, &Graph::Node::name);
    ASSERT_NE(found, nodes.end()) << row.model << " " << row.operation;
    EXPECT_EQ(network.graph.spec(found->outputs[0]).shape, (Shape{Shape::kBatch, row.pixels, row.pixels, row.channels}))
        << row.model << " " << row.operation;
  }
}

TEST(Zoo, SmallFormsTakeImagesOf28To64Pixels) {
  const auto backend = make_reference_backend();
  for (const std::string& name : zoo_names()) {
    for (const std::int64_t pixels : {28, 29, 32, 63, 64}) {
      const Network network(name, {.height = pixels, .width = pixels, .channels = 1, .classes = 10}, {.width = 8});
      EXPECT_GT(multiplications(*network.compile(*backend)), 0) << name << " " << pixels;
    }
  }
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
  EXPECT_EQ(refusal("resnet-19", kCifar),
            "unknown model \"resnet-19\", known are alexnet, googlenet, inception-v2, inception-v3, lenet, "
            "resnet-18, resnet-34, resnet-50, resnet-101, vgg-d");
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
    const float guessing = std::log(10.0F);  // the loss of a network that knows nothing
    EXPECT_LT(bound.get("loss")[0] / bound.get("weight")[0], 2 * guessing) << name;
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
