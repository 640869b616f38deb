#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "zoo/networks.h"

namespace minim::zoo {

namespace {

// Smallest image that the 7 x 7 stem is for, and the smallest of all: below, the last stage sees less than a pixel of each image.
constexpr std::int64_t kLargeImage = 64;
constexpr std::int64_t kSmallestImage = 8;

using Blocks = std::array<int, 4>;  // per stage

/// Adds the layers of one network under torchvision's names.
/// Source: He et al., "Deep residual learning for image recognition", arXiv:1512.03385, table 1; in bottlenecks the 3 x 3
/// convolution has the stride ("v1.5").
class Resnet {
 public:
  Resnet(Graph& graph, std::int64_t width, bool bottleneck) : graph_(graph), width_(width), bottleneck_(bottleneck) {}

  Value build(Value images, const ImageTask& task, const Blocks& blocks) const {
    Value x = stem(images, std::min(task.height, task.width) >= kLargeImage);
    for (std::size_t stage = 0; stage < blocks.size(); ++stage) {
      for (int block = 0; block < blocks[stage]; ++block) {
        const std::int64_t stride = stage > 0 && block == 0 ? 2 : 1;
        x = residual(fmt::format("layer{}.{}", stage + 1, block), x, width_ << stage, stride);
      }
    }
    return graph_.linear("fc", graph_.global_average_pool("avgpool", x), task.classes);
  }

 private:
  Value stem(Value images, bool large) const {
    if (!large) return normalized_relu("bn1", convolution("conv1", images, width_, 3, 1));
    const Value x = normalized_relu("bn1", convolution("conv1", images, width_, 7, 2));
    const PoolGeometry pool{
        .window_h = 3, .window_w = 3, .stride_h = 2, .stride_w = 2, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};
    return graph_.max_pool("maxpool", x, pool);
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
    Conv2dOptions options{.kernel_h = window, .kernel_w = window};
    Conv2dGeometry& g = options.geometry;
    g.stride_h = g.stride_w = stride;
    g.pad_top = g.pad_left = g.pad_bottom = g.pad_right = window / 2;
    return graph_.conv2d(name, x, channels, options);
  }

  Value normalized_relu(const std::string& name, Value x, std::optional<Value> addend = {}) const {
    return graph_.batch_norm(name, x, {.activation = Activation::relu}, addend);
  }

  Graph& graph_;
  std::int64_t width_;
  bool bottleneck_;
};

}  // namespace

Value resnet_18(Graph& graph, Value images, const ImageTask& task, std::int64_t width) {
  expect_pixels("resnet-18", task, kSmallestImage);
  return Resnet(graph, width, false).build(images, task, {2, 2, 2, 2});
}

Value resnet_50(Graph& graph, Value images, const ImageTask& task, std::int64_t width) {
  expect_pixels("resnet-50", task, kSmallestImage);
  return Resnet(graph, width, true).build(images, task, {3, 4, 6, 3});
}

}  // namespace minim::zoo
