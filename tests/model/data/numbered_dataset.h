#pragma once

#include <algorithm>
#include <set>

#include "minim/model/data/dataset.h"

namespace minim::testing {

/// Image n is all n, and so is its label: what is read where can be told from the outside. Some images cannot be read.
class NumberedDataset final : public Dataset {
 public:
  explicit NumberedDataset(std::int64_t size, std::set<std::int64_t> broken = {}) : size_(size), broken_(std::move(broken)) {}

  std::int64_t size() const override { return size_; }
  ImageTask task() const override { return {.height = 2, .width = 3, .channels = 1, .classes = size_}; }
  std::int32_t read(std::int64_t index, std::span<float> image) const override {
    if (broken_.contains(index)) throw DataError("image " + std::to_string(index) + " is broken");
    std::fill(image.begin(), image.end(), static_cast<float>(index));
    return static_cast<std::int32_t>(index);
  }

 private:
  std::int64_t size_;
  std::set<std::int64_t> broken_;
};

}  // namespace minim::testing
