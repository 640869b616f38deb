#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "zoo/networks.h"
#include "zoo/windows.h"

namespace minim::zoo {

namespace {

// Below, the last stage sees less than a pixel of each image.
constexpr std::int64_t kSmallestImage = 8;

using Blocks = std::array<int, 4>;  // per stage

/// Adds the layers of one network under torchvision's names.
/// Source: He et al., "Deep residual learning for image recognition", arXiv:1512.03385, table 1; in bottlenecks the 3 x 3
/// convolution has the stride ("v1.5").
class Resnet {
 public:
  Resnet(const Setting& setting, bool bottleneck)
      : setting_(setting), graph_(setting.graph), width_(setting.options.width), bottleneck_(bottleneck) {}

  Value build(const Blocks& blocks) const {
    Value x = stem(setting_.images);
    for (std::size_t stage = 0; stage < blocks.size(); ++stage) {
      for (int block = 0; block < blocks[stage]; ++block) {
        const std::int64_t stride = stage > 0 && block == 0 ? 2 : 1;
        x = residual(fmt::format("layer{}.{}", stage + 1, block), x, width_ << stage, stride);
      }
    }
    return graph_.linear("fc", graph_.global_average_pool("avgpool", x), setting_.task.classes);
  }

 private:
  Value stem(Value images) const {
    if (is_small(setting_.task)) return normalized_relu("bn1", convolution("conv1", images, width_, 3, 1));
    const Value x = normalized_relu("bn1", convolution("conv1", images, width_, 7, 2));
    return graph_.max_pool("maxpool", x, square_pool(3, 2, 1));
  }

  Value residual(const std::string& name, Value x, std::int64_t channels, std::int64_t stride) const {
    return bottleneck_ ? bottleneck(name, x, channels, stride) : basic(name, x, channels, stride);
  }

  Value basic(const std::string& name, Value x, std::int64_t channels, std::int64_t stride) const {
    Value y = normalized_relu(name + ".bn1", convolution(name + ".conv1", x, channels, 3, stride));
    y = convolution(name + ".conv2", y, channels, 3, 1);
    return normalized_relu(name + ".bn2", y, shortcut(name, x, channels, stride));
  }

  Value bottleneck(const std::string& name, Value x, std::int64_t channels, std::int64_t stride) const {
    const std::int64_t expanded = 4 * channels;
    Value y = normalized_relu(name + ".bn1", convolution(name + ".conv1", x, channels, 1, 1));
    y = normalized_relu(name + ".bn2", convolution(name + ".conv2", y, channels, 3, stride));
    y = convolution(name + ".conv3", y, expanded, 1, 1);
    return normalized_relu(name + ".bn3", y, shortcut(name, x, expanded, stride));
  }

  /// The input itself, or its projection where the block changes the shape.
  Value shortcut(const std::string& name, Value x, std::int64_t channels, std::int64_t stride) const {
    if (stride == 1 && graph_.spec(x).shape[3] == channels) return x;
    return graph_.batch_norm(name + ".downsample.1", convolution(name + ".downsample.0", x, channels, 1, stride));
  }

  Value convolution(const std::string& name, Value x, std::int64_t channels, std::int64_t window, std::int64_t stride) const {
    const Conv2dOptions options{.kernel_h = window, .kernel_w = window, .geometry = square_geometry(stride, window / 2)};
    return graph_.conv2d(name, x, channels, options);
  }

  Value normalized_relu(const std::string& name, Value x, std::optional<Value> addend = {}) const {
    return graph_.batch_norm(name, x, {.activation = Activation::relu}, addend);
  }

  const Setting& setting_;
  Graph& graph_;
  std::int64_t width_;
  bool bottleneck_;
};

}  // namespace

Value resnet_18(const Setting& setting) {
  expect_pixels("resnet-18", setting.task, kSmallestImage);
  return Resnet(setting, false).build({2, 2, 2, 2});
}

Value resnet_34(const Setting& setting) {
  expect_pixels("resnet-34", setting.task, kSmallestImage);
  return Resnet(setting, false).build({3, 4, 6, 3});
}

Value resnet_50(const Setting& setting) {
  expect_pixels("resnet-50", setting.task, kSmallestImage);
  return Resnet(setting, true).build({3, 4, 6, 3});
}

Value resnet_101(const Setting& setting) {
  expect_pixels("resnet-101", setting.task, kSmallestImage);
  return Resnet(setting, true).build({3, 4, 23, 3});
}

}  // namespace minim::zoo
