#include <algorithm>

#include "zoo/networks.h"
#include "zoo/normalized_layers.h"

namespace minim::zoo {

namespace {

constexpr double kAuxiliaryWeight = 0.4;
constexpr std::int64_t kLargeImage = 75;  // the least that the large form leaves a pixel of

/// Modules and layers under torchvision's names.
class InceptionV3 {
 public:
  explicit InceptionV3(const Setting& setting) : setting_(setting), graph_(setting.graph), layers_(setting.graph, 1e-3) {}

  Value build() const {
    Value x = stem(setting_.images, is_small(setting_.task, kLargeImage));
    x = five("Mixed_5b", x, 32);
    x = five("Mixed_5c", x, 64);
    x = five("Mixed_5d", x, 64);
    x = halved_after_five("Mixed_6a", x);
    x = seven("Mixed_6b", x, 128);
    x = seven("Mixed_6c", x, 160);
    x = seven("Mixed_6d", x, 160);
    x = seven("Mixed_6e", x, 192);
    if (graph_.mode() == Graph::Mode::training) auxiliary_classifier("AuxLogits", x);
    x = halved_after_seven("Mixed_7a", x);
    x = split("Mixed_7b", x);
    x = split("Mixed_7c", x);
    x = graph_.dropout("dropout", graph_.global_average_pool("avgpool", x), 0.5);
    return graph_.linear("fc", x, setting_.task.classes);
  }

 private:
  static constexpr Window kInside{3, 3, 1, false};
  static constexpr Window kHalving{3, 3, 2, false};

  Value convolution(const std::string& name, Value x, std::int64_t channels, Window window = {}) const {
    return layers_.convolution(name, x, channels, window);
  }

  Value stem(Value images, bool small) const {
    const Window whole{3, 3};
    Value x = convolution("Conv2d_1a_3x3", images, 32, small ? whole : kHalving);
    x = convolution("Conv2d_2a_3x3", x, 32, small ? whole : kInside);
    x = convolution("Conv2d_2b_3x3", x, 64, whole);
    if (!small) x = graph_.max_pool("maxpool1", x, square_pool(3, 2));
    x = convolution("Conv2d_3b_1x1", x, 80);
    x = convolution("Conv2d_4a_3x3", x, 192, small ? whole : kInside);
    return small ? x : graph_.max_pool("maxpool2", x, square_pool(3, 2));
  }

  /// Figure 5 of the paper, with one 5 x 5 window left.
  Value five(const std::string& name, Value x, std::int64_t projection) const {
    const Value one = convolution(name + ".branch1x1", x, 64);
    const Value window = convolution(name + ".branch5x5_2", convolution(name + ".branch5x5_1", x, 48), 64, {5, 5});
    Value twice = convolution(name + ".branch3x3dbl_1", x, 64);
    twice = convolution(name + ".branch3x3dbl_2", twice, 96, {3, 3});
    twice = convolution(name + ".branch3x3dbl_3", twice, 96, {3, 3});
    return graph_.concat(name, {one, window, twice, projected(name, x, projection)});
  }

  Value halved_after_five(const std::string& name, Value x) const {
    const Value window = convolution(name + ".branch3x3", x, 384, kHalving);
    Value twice = convolution(name + ".branch3x3dbl_1", x, 64);
    twice = convolution(name + ".branch3x3dbl_2", twice, 96, {3, 3});
    twice = convolution(name + ".branch3x3dbl_3", twice, 96, kHalving);
    return graph_.concat(name, {window, twice, graph_.max_pool(name + ".branch_pool", x, square_pool(3, 2))});
  }

  /// Figure 6: 7 x 7 windows as a row and a column.
  Value seven(const std::string& name, Value x, std::int64_t channels) const {
    const Window row{1, 7}, column{7, 1};
    const Value one = convolution(name + ".branch1x1", x, 192);
    Value window = convolution(name + ".branch7x7_1", x, channels);
    window = convolution(name + ".branch7x7_2", window, channels, row);
    window = convolution(name + ".branch7x7_3", window, 192, column);
    Value twice = convolution(name + ".branch7x7dbl_1", x, channels);
    twice = convolution(name + ".branch7x7dbl_2", twice, channels, column);
    twice = convolution(name + ".branch7x7dbl_3", twice, channels, row);
    twice = convolution(name + ".branch7x7dbl_4", twice, channels, column);
    twice = convolution(name + ".branch7x7dbl_5", twice, 192, row);
    return graph_.concat(name, {one, window, twice, projected(name, x, 192)});
  }

  Value halved_after_seven(const std::string& name, Value x) const {
    const Value window = convolution(name + ".branch3x3_2", convolution(name + ".branch3x3_1", x, 192), 320, kHalving);
    Value large = convolution(name + ".branch7x7x3_1", x, 192);
    large = convolution(name + ".branch7x7x3_2", large, 192, {1, 7});
    large = convolution(name + ".branch7x7x3_3", large, 192, {7, 1});
    large = convolution(name + ".branch7x7x3_4", large, 192, kHalving);
    return graph_.concat(name, {window, large, graph_.max_pool(name + ".branch_pool", x, square_pool(3, 2))});
  }

  /// Figure 7: a row and a column side by side.
  Value split(const std::string& name, Value x) const {
    const Window row{1, 3}, column{3, 1};
    const Value one = convolution(name + ".branch1x1", x, 320);
    const Value window = convolution(name + ".branch3x3_1", x, 384);
    const Value window_row = convolution(name + ".branch3x3_2a", window, 384, row);
    const Value window_column = convolution(name + ".branch3x3_2b", window, 384, column);
    const Value twice = convolution(name + ".branch3x3dbl_2", convolution(name + ".branch3x3dbl_1", x, 448), 384, {3, 3});
    const Value twice_row = convolution(name + ".branch3x3dbl_3a", twice, 384, row);
    const Value twice_column = convolution(name + ".branch3x3dbl_3b", twice, 384, column);
    return graph_.concat(name, {one, window_row, window_column, twice_row, twice_column, projected(name, x, 192)});
  }

  Value projected(const std::string& name, Value x, std::int64_t channels) const {
    return convolution(name + ".branch_pool", layers_.average(name + ".pool", x), channels);
  }

  /// Small images leave less than the 5 x 5 positions that the second convolution looks at.
  void auxiliary_classifier(const std::string& name, Value x) const {
    Value y = convolution(name + ".conv0", graph_.average_pool(name + ".pool", x, fitting_pool(graph_.spec(x).shape, 5, 3)), 128);
    const Shape& left = graph_.spec(y).shape;
    y = convolution(name + ".conv1", y, 768,
                    {.height = std::min<std::int64_t>(left[1], 5), .width = std::min<std::int64_t>(left[2], 5), .padded = false});
    y = graph_.global_average_pool(name + ".avgpool", y);
    auxiliary_loss(setting_, name + ".loss", graph_.linear(name + ".fc", y, setting_.task.classes), kAuxiliaryWeight);
  }

  const Setting& setting_;
  Graph& graph_;
  NormalizedLayers layers_;
};

}  // namespace

/// Inception-v3: 27,161,264 parameters with the auxiliary classifier, for 299 x 299 x 3 and 1000 classes.
/// Source: Szegedy et al., "Rethinking the Inception architecture for computer vision", arXiv:1512.00567, table 1.
Value inception_v3(const Setting& setting) {
  expect_pixels("inception-v3", setting.task, 15);
  return InceptionV3(setting).build();
}

}  // namespace minim::zoo
