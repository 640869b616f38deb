#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "minim/model/graph.h"

namespace minim {

/// What a network looks at and tells apart.
struct ImageTask {
  std::int64_t height = 28, width = 28, channels = 1;
  std::int64_t classes = 10;
};

struct ZooOptions {
  std::int64_t width = 64;  ///< channels of a ResNet's first stage; other models ignore it
  double label_smoothing = 0;
};

/// Names of the networks that `build_classifier` knows.
std::vector<std::string> zoo_names();

/// Adds a classifier to `graph`: inputs "images" (activation, [N, H, W, C]), "labels" (int32, [N]), "valid_samples" (int32, [1]);
/// outputs "logits", "loss", "weight", "correct". Images of less than 64 pixels (inception-v3: 75) take small forms of networks,
/// with stems that keep their size. Auxiliary classifiers are there in training only; their losses are no part of "loss". Throws
/// InvalidArgument for an unknown name (lists the known ones) and for images that are too small (says how small).
void build_classifier(Graph& graph, std::string_view model, const ImageTask& task, const ZooOptions& options = {});

}  // namespace minim
