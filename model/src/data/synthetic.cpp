#include <fmt/format.h>

#include <vector>

#include "minim/model/data/dataset.h"
#include "minim/runtime/philox.h"

namespace minim {
namespace {

/// What a random number is for: the last word of Philox's counter.
enum class Purpose : std::uint32_t { pattern, train_label, train_noise, test_label, test_noise };

/// Patterns are constant over cells of this many pixels a side, so that convolutions and pooling can see them.
constexpr std::int64_t kCell = 4;

/// Pattern and noise are uniform in [-kAmplitude, kAmplitude): variance 1/2 each, so that images have unit variance.
constexpr float kAmplitude = 1.2247449F;  // sqrt(3 / 2)

float symmetric(std::uint32_t bits) { return kAmplitude * (2.0F * uniform(bits) - 1.0F); }

class SyntheticDataset final : public Dataset {
 public:
  SyntheticDataset(const ImageTask& task, std::int64_t size, std::uint64_t seed, Split split)
      : task_(task), size_(size), seed_(seed), split_(split) {
    patterns_.reserve(static_cast<std::size_t>(task.classes));
    for (std::int64_t c = 0; c < task.classes; ++c) patterns_.push_back(make_pattern(c));
  }

  std::int64_t size() const override { return size_; }
  ImageTask task() const override { return task_; }
  std::int32_t read(std::int64_t index, std::span<float> image) const override {
    if (index < 0 || index >= size_ || image.size() != patterns_.front().size()) {
      throw InvalidArgument(
          fmt::format("synthetic images: image {} into {} floats was asked for, there are {} images of {} floats", index,
                      image.size(), size_, patterns_.front().size()));
    }
    const bool train = split_ == Split::train;
    const std::uint32_t draw = random(index, 0, train ? Purpose::train_label : Purpose::test_label)[0];
    const auto label = static_cast<std::size_t>(draw % static_cast<std::uint64_t>(task_.classes));
    const auto& pattern = patterns_[label];
    for (std::size_t i = 0; i < image.size(); i += 4) {
      const auto noise = random(index, static_cast<std::uint32_t>(i / 4), train ? Purpose::train_noise : Purpose::test_noise);
      for (std::size_t j = 0; j < 4 && i + j < image.size(); ++j) image[i + j] = pattern[i + j] + symmetric(noise[j]);
    }
    return static_cast<std::int32_t>(label);
  }

 private:
  std::array<std::uint32_t, 4> random(std::int64_t index, std::uint32_t block, Purpose purpose) const {
    const auto i = static_cast<std::uint64_t>(index);
    return philox(
        {static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(i >> 32U), block, static_cast<std::uint32_t>(purpose)},
        {static_cast<std::uint32_t>(seed_), static_cast<std::uint32_t>(seed_ >> 32U)});
  }

  std::vector<float> make_pattern(std::int64_t label) const {
    std::vector<float> pattern(static_cast<std::size_t>(task_.height * task_.width * task_.channels));
    const std::int64_t cells_per_row = (task_.width + kCell - 1) / kCell;
    std::size_t i = 0;
    for (std::int64_t y = 0; y < task_.height; ++y) {
      for (std::int64_t x = 0; x < task_.width; ++x) {
        const std::int64_t cell = y / kCell * cells_per_row + x / kCell;
        for (std::int64_t c = 0; c < task_.channels; ++c) {
          pattern[i++] = symmetric(random(label, static_cast<std::uint32_t>(cell * task_.channels + c), Purpose::pattern)[0]);
        }
      }
    }
    return pattern;
  }

  ImageTask task_;
  std::int64_t size_;
  std::uint64_t seed_;
  Split split_;
  std::vector<std::vector<float>> patterns_;  ///< per class
};

}  // namespace

std::unique_ptr<Dataset> make_synthetic(const ImageTask& task, std::int64_t size, std::uint64_t seed, Split split) {
  if (size < 1) throw InvalidArgument(fmt::format("synthetic data set of {} images, wanted at least 1", size));
  if (task.height < 1 || task.width < 1 || task.channels < 1 || task.classes < 1) {
    throw InvalidArgument(fmt::format("synthetic images of {} x {} x {} in {} classes, wanted at least 1 of each", task.height,
                                      task.width, task.channels, task.classes));
  }
  return std::make_unique<SyntheticDataset>(task, size, seed, split);
}

}  // namespace minim
