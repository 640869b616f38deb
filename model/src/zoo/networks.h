#pragma once

#include <string>

#include "minim/model/zoo.h"

namespace minim::zoo {

/// Each adds a network from images [N, H, W, C] to logits [N, classes].
Value lenet(Graph& graph, Value images, const ImageTask& task);
Value resnet_18(Graph& graph, Value images, const ImageTask& task, std::int64_t width);
Value resnet_50(Graph& graph, Value images, const ImageTask& task, std::int64_t width);

/// Throws InvalidArgument that says how small images may be.
void expect_pixels(std::string_view model, const ImageTask& task, std::int64_t smallest);

}  // namespace minim::zoo
