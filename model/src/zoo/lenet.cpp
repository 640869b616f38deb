#include "zoo/networks.h"

namespace minim::zoo {

/// LeNet-5 as it is trained today: ReLU and max pooling, no batch norm, the first convolution padded so that 28 x 28 images need
/// no border: 61,706 parameters for 28 x 28 x 1 and 10 classes. Source: LeCun et al., "Gradient-based learning applied to
/// document recognition", Proceedings of the IEEE 86 (1998), section II.B.
Value lenet(Graph& graph, Value images, const ImageTask& task) {
  expect_pixels("lenet", task, 12);  // what two poolings and a 5 x 5 window without padding leave a pixel of
  const PoolGeometry halve;
  const Conv2dOptions plain{.kernel_h = 5, .kernel_w = 5, .bias = true, .activation = Activation::relu};
  Conv2dOptions padded = plain;
  padded.geometry.pad_top = padded.geometry.pad_bottom = padded.geometry.pad_left = padded.geometry.pad_right = 2;
  const LinearOptions hidden{.activation = Activation::relu};

  Value x = graph.conv2d("conv1", images, 6, padded);
  x = graph.max_pool("pool1", x, halve);
  x = graph.conv2d("conv2", x, 16, plain);
  x = graph.max_pool("pool2", x, halve);
  x = graph.flatten("flatten", x);
  x = graph.linear("fc1", x, 120, hidden);
  x = graph.linear("fc2", x, 84, hidden);
  return graph.linear("fc3", x, task.classes);
}

}  // namespace minim::zoo
