#pragma once

#include <string>

#include "minim/model/zoo.h"

namespace minim::zoo {

/// What a network is added to, and for what.
struct Setting {
  Graph& graph;
  Value images;  ///< [N, H, W, C]
  Value labels;  ///< [N], for auxiliary losses
  const ImageTask& task;
  const ZooOptions& options;
};

/// Each adds a network and returns its logits [N, classes].
Value alexnet(const Setting& setting);
Value googlenet(const Setting& setting);
Value inception_v2(const Setting& setting);
Value inception_v3(const Setting& setting);
Value lenet(const Setting& setting);
Value resnet_18(const Setting& setting);
Value resnet_34(const Setting& setting);
Value resnet_50(const Setting& setting);
Value resnet_101(const Setting& setting);
Value vgg_d(const Setting& setting);

/// Whether images are smaller than that on a side and take a network's small form: a stem that keeps their size, where the large
/// one divides it by 4 or 8.
bool is_small(const ImageTask& task, std::int64_t large = 64);

/// Throws InvalidArgument that says how small images may be.
void expect_pixels(std::string_view model, const ImageTask& task, std::int64_t smallest);

/// Adds the loss of an auxiliary classifier, whose gradient counts `weight` times.
void auxiliary_loss(const Setting& setting, const std::string& name, Value logits, double weight);

}  // namespace minim::zoo
