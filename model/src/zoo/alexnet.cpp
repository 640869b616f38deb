#include "zoo/networks.h"
#include "zoo/windows.h"

namespace minim::zoo {

/// AlexNet in its later form, without normalisation: 61,100,840 parameters for 224 x 224 x 3 and 1000 classes. The small form has
/// a 3 x 3 window for the 11 x 11 one. Under torchvision's names.
/// Source: Krizhevsky, "One weird trick for parallelizing convolutional neural networks", arXiv:1404.5997, section 5.
Value alexnet(const Setting& setting) {
  expect_pixels("alexnet", setting.task, 15);  // what three poolings leave a pixel of
  Graph& graph = setting.graph;
  const auto convolution = [&graph](const std::string& name, Value x, std::int64_t channels, std::int64_t window,
                                    Conv2dGeometry geometry) {
    return graph.conv2d(
        name, x, channels,
        {.kernel_h = window, .kernel_w = window, .geometry = geometry, .bias = true, .activation = Activation::relu});
  };
  const LinearOptions hidden{.activation = Activation::relu};

  Value x = is_small(setting.task) ? convolution("features.0", setting.images, 64, 3, square_geometry(1, 1))
                                   : convolution("features.0", setting.images, 64, 11, square_geometry(4, 2));
  x = graph.max_pool("features.2", x, square_pool(3, 2));
  x = convolution("features.3", x, 192, 5, square_geometry(1, 2));
  x = graph.max_pool("features.5", x, square_pool(3, 2));
  x = convolution("features.6", x, 384, 3, square_geometry(1, 1));
  x = convolution("features.8", x, 256, 3, square_geometry(1, 1));
  x = convolution("features.10", x, 256, 3, square_geometry(1, 1));
  x = graph.max_pool("features.12", x, square_pool(3, 2));
  x = graph.linear("classifier.1", graph.dropout("classifier.0", x, 0.5), 4096, hidden);
  x = graph.linear("classifier.4", graph.dropout("classifier.3", x, 0.5), 4096, hidden);
  return graph.linear("classifier.6", x, setting.task.classes);
}

}  // namespace minim::zoo
