#pragma once

#include <string>

#include "zoo/windows.h"

namespace minim::zoo {

/// How an Inception network's convolution looks at an image.
struct Window {
  std::int64_t height = 1, width = 1;
  std::int64_t stride = 1;
  bool padded = true;  ///< so that every pixel has a window; else windows lie inside the image
};

/// Convolutions with batch normalisation and ReLU behind them, "NAME.conv" and "NAME.bn".
class NormalizedLayers {
 public:
  NormalizedLayers(Graph& graph, double epsilon) : graph_(graph), epsilon_(epsilon) {}

  Value convolution(const std::string& name, Value x, std::int64_t channels, Window window = {}) const {
    Conv2dOptions options{.kernel_h = window.height, .kernel_w = window.width};
    Conv2dGeometry& g = options.geometry;
    g.stride_h = g.stride_w = window.stride;
    if (window.padded) {
      g.pad_top = g.pad_bottom = window.height / 2;
      g.pad_left = g.pad_right = window.width / 2;
    }
    return graph_.batch_norm(name + ".bn", graph_.conv2d(name + ".conv", x, channels, options),
                             {.epsilon = epsilon_, .activation = Activation::relu});
  }

  Value average(const std::string& name, Value x) const {
    return graph_.average_pool(name, x, square_pool(3, 1, 1), /*count_padding=*/true);
  }

 private:
  Graph& graph_;
  double epsilon_;
};

}  // namespace minim::zoo
