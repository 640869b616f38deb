#include "zoo/networks.h"
#include "zoo/normalized_layers.h"

namespace minim::zoo {

namespace {

/// Channels of the four branches of a module. In a module that halves the image there is no first branch and the last one is the
/// pooled input itself.
struct Module {
  std::string name;
  std::int64_t single;
  std::int64_t reduced, window;
  std::int64_t double_reduced, double_window;
  std::int64_t projection;
  bool largest = false;  ///< whether the last branch takes the largest or the mean of a window

  bool halves() const { return projection == 0; }
};

const Module kThird[] = {
    {"inception3a", 64, 64, 64, 64, 96, 32}, {"inception3b", 64, 64, 96, 64, 96, 64}, {"inception3c", 0, 128, 160, 64, 96, 0}};
const Module kFourth[] = {{"inception4a", 224, 64, 96, 96, 128, 128},
                          {"inception4b", 192, 96, 128, 96, 128, 128},
                          {"inception4c", 160, 128, 160, 128, 160, 128},
                          {"inception4d", 96, 128, 192, 160, 192, 128},
                          {"inception4e", 0, 128, 192, 192, 256, 0}};
const Module kFifth[] = {{"inception5a", 352, 192, 320, 160, 224, 128}, {"inception5b", 352, 192, 320, 192, 224, 128, true}};

class InceptionV2 {
 public:
  explicit InceptionV2(const Setting& setting) : setting_(setting), graph_(setting.graph), layers_(setting.graph, 1e-5) {}

  Value build() const {
    Value x = stem(setting_.images, is_small(setting_.task));
    for (const Module& module : kThird) x = inception(module, x);
    for (const Module& module : kFourth) x = inception(module, x);
    for (const Module& module : kFifth) x = inception(module, x);
    return graph_.linear("fc", graph_.global_average_pool("avgpool", x), setting_.task.classes);
  }

 private:
  Value stem(Value images, bool small) const {
    const std::int64_t first = small ? 3 : 7;
    Value x = layers_.convolution("conv1", images, 64, {first, first, small ? 1 : 2});
    if (!small) x = halved("pool1", x);
    x = layers_.convolution("conv2", x, 64);
    x = layers_.convolution("conv3", x, 192, {3, 3});
    return small ? x : halved("pool2", x);
  }

  Value halved(const std::string& name, Value x) const { return graph_.max_pool(name, x, same_pool(graph_.spec(x).shape, 3, 2)); }

  Value inception(const Module& module, Value x) const {
    const std::string& name = module.name;
    const std::int64_t stride = module.halves() ? 2 : 1;
    std::vector<Value> branches;
    if (module.single > 0) branches.push_back(layers_.convolution(name + ".branch1", x, module.single));
    Value y = layers_.convolution(name + ".branch2.0", x, module.reduced);
    branches.push_back(layers_.convolution(name + ".branch2.1", y, module.window, {3, 3, stride}));
    y = layers_.convolution(name + ".branch3.0", x, module.double_reduced);
    y = layers_.convolution(name + ".branch3.1", y, module.double_window, {3, 3});
    branches.push_back(layers_.convolution(name + ".branch3.2", y, module.double_window, {3, 3, stride}));
    branches.push_back(pooled(module, x));
    return graph_.concat(name, std::move(branches));
  }

  Value pooled(const Module& module, Value x) const {
    const std::string pool = module.name + ".branch4.0";
    if (module.halves()) return halved(pool, x);
    const Value y = module.largest ? graph_.max_pool(pool, x, square_pool(3, 1, 1)) : layers_.average(pool, x);
    return layers_.convolution(module.name + ".branch4.1", y, module.projection);
  }

  const Setting& setting_;
  Graph& graph_;
  NormalizedLayers layers_;
};

}  // namespace

/// The Inception with batch normalisation that the first paper on that describes, with a plain 7 x 7 convolution in front.
/// Source: Ioffe and Szegedy, "Batch Normalization", arXiv:1502.03167, figure 5.
Value inception_v2(const Setting& setting) {
  expect_pixels("inception-v2", setting.task, 8);
  return InceptionV2(setting).build();
}

}  // namespace minim::zoo
