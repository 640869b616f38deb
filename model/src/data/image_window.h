#pragma once

#include "data/bitmap.h"
#include "minim/model/data/dataset.h"

namespace minim {

/// What a network of `size` x `size` pixels is shown of an image in evaluation: the middle of it, after its shorter side has
/// become size * 256 / 224. In whole pixels of the image so resized, as torchvision's Resize and CenterCrop.
Window central_window(std::int64_t height, std::int64_t width, std::int64_t size);

/// What it is shown in training: a rectangle of 8 % to 100 % of the area, evenly, with an aspect ratio of 3/4 to 4/3, evenly in
/// its logarithm, and mirrored or not. In whole pixels; ten tries, then the largest in the middle that has such a ratio, as
/// torchvision's RandomResizedCrop.
/// Source: Szegedy et al., "Going deeper with convolutions", arXiv:1409.4842, section 6.
Window random_window(const SampleKey& key, std::int64_t height, std::int64_t width);

}  // namespace minim
