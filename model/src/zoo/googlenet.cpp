#include "zoo/networks.h"
#include "zoo/windows.h"

namespace minim::zoo {

namespace {

constexpr double kAuxiliaryWeight = 0.3;

/// Channels of the four branches of a module.
struct Module {
  std::string name;
  std::int64_t single;
  std::int64_t reduced_three, three;
  std::int64_t reduced_five, five;
  std::int64_t projection;
  bool auxiliary = false;  ///< whether an auxiliary classifier follows
};

const Module kThird[] = {{"inception3a", 64, 96, 128, 16, 32, 32}, {"inception3b", 128, 128, 192, 32, 96, 64}};
const Module kFourth[] = {{"inception4a", 192, 96, 208, 16, 48, 64, true},
                          {"inception4b", 160, 112, 224, 24, 64, 64},
                          {"inception4c", 128, 128, 256, 24, 64, 64},
                          {"inception4d", 112, 144, 288, 32, 64, 64, true},
                          {"inception4e", 256, 160, 320, 32, 128, 128}};
const Module kFifth[] = {{"inception5a", 256, 160, 320, 32, 128, 128}, {"inception5b", 384, 192, 384, 48, 128, 128}};

class Googlenet {
 public:
  explicit Googlenet(const Setting& setting) : setting_(setting), graph_(setting.graph) {}

  Value build() const {
    Value x = stem(setting_.images, is_small(setting_.task));
    for (const Module& module : kThird) x = inception(module, x);
    x = halved("pool3", x);
    for (const Module& module : kFourth) x = inception(module, x);
    x = halved("pool4", x);
    for (const Module& module : kFifth) x = inception(module, x);
    x = graph_.dropout("dropout", graph_.global_average_pool("avgpool", x), 0.4);
    return graph_.linear("fc", x, setting_.task.classes);
  }

 private:
  Value stem(Value images, bool small) const {
    Value x = small ? convolution("conv1", images, 64, 3) : convolution("conv1", images, 64, 7, 2);
    if (!small) x = halved("pool1", x);
    x = graph_.local_response_norm("norm1", x);
    x = convolution("conv3", convolution("conv2", x, 64, 1), 192, 3);
    x = graph_.local_response_norm("norm2", x);
    return small ? x : halved("pool2", x);
  }

  // Where channels are first reduced and nothing normalises them, weights that keep the gradients' variance blow activations up.
  Value convolution(const std::string& name, Value x, std::int64_t channels, std::int64_t window, std::int64_t stride = 1) const {
    return graph_.conv2d(name, x, channels,
                         {.kernel_h = window,
                          .kernel_w = window,
                          .geometry = square_geometry(stride, window / 2),
                          .bias = true,
                          .activation = Activation::relu,
                          .keep = Keep::activations});
  }

  Value halved(const std::string& name, Value x) const { return graph_.max_pool(name, x, same_pool(graph_.spec(x).shape, 3, 2)); }

  Value inception(const Module& module, Value x) const {
    const std::string& name = module.name;
    const Value single = convolution(name + ".branch1", x, module.single, 1);
    const Value three =
        convolution(name + ".branch2.1", convolution(name + ".branch2.0", x, module.reduced_three, 1), module.three, 3);
    const Value five =
        convolution(name + ".branch3.1", convolution(name + ".branch3.0", x, module.reduced_five, 1), module.five, 5);
    const Value pooled = graph_.max_pool(name + ".branch4.0", x, square_pool(3, 1, 1));
    const Value projected = convolution(name + ".branch4.1", pooled, module.projection, 1);
    const Value y = graph_.concat(name, {single, three, five, projected});
    if (module.auxiliary && graph_.mode() == Graph::Mode::training) auxiliary_classifier(name + ".auxiliary", y);
    return y;
  }

  void auxiliary_classifier(const std::string& name, Value x) const {
    const Value pooled = graph_.average_pool(name + ".pool", x, fitting_pool(graph_.spec(x).shape, 5, 3));
    Value y = convolution(name + ".conv", pooled, 128, 1);
    y = graph_.linear(name + ".fc1", y, 1024, {.activation = Activation::relu});
    y = graph_.dropout(name + ".dropout", y, 0.7);
    auxiliary_loss(setting_, name + ".loss", graph_.linear(name + ".fc2", y, setting_.task.classes), kAuxiliaryWeight);
  }

  const Setting& setting_;
  Graph& graph_;
};

}  // namespace

/// GoogLeNet, or Inception v1, with local response normalisation and auxiliary classifiers: 6,998,552 parameters without the
/// latter, 13,378,280 with them, for 224 x 224 x 3 and 1000 classes.
/// Source: Szegedy et al., "Going deeper with convolutions", arXiv:1409.4842, table 1.
Value googlenet(const Setting& setting) {
  expect_pixels("googlenet", setting.task, 8);
  return Googlenet(setting).build();
}

}  // namespace minim::zoo
