#include "zoo/networks.h"
#include "zoo/windows.h"

namespace minim::zoo {

/// LeNet-5 as it is trained today: ReLU and max pooling, no batch norm, the first convolution padded so that 28 x 28 images need
/// no border: 61,706 parameters for 28 x 28 x 1 and 10 classes. Source: LeCun et al., "Gradient-based learning applied to
/// document recognition", Proceedings of the IEEE 86 (1998), section II.B.
Value lenet(const Setting& setting) {
  expect_pixels("lenet", setting.task, 12);  // what two poolings and a 5 x 5 window without padding leave a pixel of
  Graph& graph = setting.graph;
  const PoolGeometry halve;
  const Conv2dOptions plain{.kernel_h = 5, .kernel_w = 5, .bias = true, .activation = Activation::relu};
  Conv2dOptions padded = plain;
  padded.geometry = square_geometry(1, 2);
  const LinearOptions hidden{.activation = Activation::relu};

  Value x = graph.conv2d("conv1", setting.images, 6, padded);
  x = graph.max_pool("pool1", x, halve);
  x = graph.conv2d("conv2", x, 16, plain);
  x = graph.max_pool("pool2", x, halve);
  x = graph.linear("fc1", x, 120, hidden);
  x = graph.linear("fc2", x, 84, hidden);
  return graph.linear("fc3", x, setting.task.classes);
}

}  // namespace minim::zoo
