#include <fmt/format.h>

#include "zoo/networks.h"
#include "zoo/windows.h"

namespace minim::zoo {

namespace {

struct Stage {
  int convolutions;
  std::int64_t channels;
};
constexpr Stage kStages[] = {{2, 64}, {2, 128}, {3, 256}, {3, 512}, {3, 512}};

}  // namespace

/// VGG-D, also called VGG-16: 138,357,544 parameters for 224 x 224 x 3 and 1000 classes. Images of every size take the same
/// layers: where a side is odd, the last window of a pooling hangs over. Under torchvision's names.
/// Source: Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", arXiv:1409.1556,
/// table 1.
Value vgg_d(const Setting& setting) {
  expect_pixels("vgg-d", setting.task, 16);  // below, the last stage sees a single pixel
  Graph& graph = setting.graph;
  const Conv2dOptions window{
      .kernel_h = 3, .kernel_w = 3, .geometry = square_geometry(1, 1), .bias = true, .activation = Activation::relu};
  const LinearOptions hidden{.activation = Activation::relu};

  Value x = setting.images;
  int layer = 0;  // ReLUs have numbers of their own
  for (const Stage& stage : kStages) {
    for (int i = 0; i < stage.convolutions; ++i, layer += 2) {
      x = graph.conv2d(fmt::format("features.{}", layer), x, stage.channels, window);
    }
    x = graph.max_pool(fmt::format("features.{}", layer++), x, same_pool(graph.spec(x).shape, 2, 2));
  }
  x = graph.linear("classifier.0", x, 4096, hidden);
  x = graph.linear("classifier.3", graph.dropout("classifier.2", x, 0.5), 4096, hidden);
  return graph.linear("classifier.6", graph.dropout("classifier.5", x, 0.5), setting.task.classes);
}

}  // namespace minim::zoo
