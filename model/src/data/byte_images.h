#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "minim/model/data/dataset.h"

namespace minim {

/// Labelled images of one size, decoded.
struct ByteImages {
  ImageTask task;
  std::vector<std::uint8_t> pixels;  ///< [N, H, W, C]
  std::vector<std::int32_t> labels;  ///< [N]

  std::int64_t elements_per_image() const { return task.height * task.width * task.channels; }
};

/// What each value of a channel's pixels becomes.
using Normalisation = std::vector<std::array<float, 256>>;

/// (v / 255 - mean) / deviation, over the pixels of a channel in all images, computed exactly from their histogram.
Normalisation normalisation_of(const ByteImages& images);

/// A data set of such images; `name` is for messages.
std::unique_ptr<Dataset> make_byte_dataset(ByteImages images, Normalisation normalisation, Augment augment, std::string name);

}  // namespace minim
