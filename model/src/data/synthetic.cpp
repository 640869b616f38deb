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
      : task_(task), size_(size), seed_(seed), split_(split) {}

  std::int64_t size() const override { return size_; }
  ImageTask task() const override { return task_; }
  std::int32_t read(std::int64_t index, std::span<float> image) const override {
    const std::int64_t elements = task_.height * task_.width * task_.channels;
    if (index < 0 || index >= size_ || static_cast<std::int64_t>(image.size()) != elements) {
      throw InvalidArgument(
          fmt::format("synthetic images: image {} into {} floats was asked for, there are {} images of {} floats", index,
                      image.size(), size_, elements));
    }
    const bool train = split_ == Split::train;
    const std::uint32_t draw = random(index, 0, train ? Purpose::train_label : Purpose::test_label)[0];
    const auto label = static_cast<std::int64_t>(draw % static_cast<std::uint64_t>(task_.classes));
    write_pattern(label, image);
    for (std::size_t i = 0; i < image.size(); i += 4) {
      const auto noise = random(index, static_cast<std::uint32_t>(i / 4), train ? Purpose::train_noise : Purpose::test_noise);
      for (std::size_t j = 0; j < 4 && i + j < image.size(); ++j) image[i + j] += symmetric(noise[j]);
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

  /// Drawn again for every image: those of many large classes would fill more memory than a network.
  void write_pattern(std::int64_t label, std::span<float> image) const {
    const std::int64_t cells_per_row = (task_.width + kCell - 1) / kCell;
    std::vector<float> row(static_cast<std::size_t>(cells_per_row * task_.channels));
    std::size_t i = 0;
    for (std::int64_t y = 0; y < task_.height; ++y) {
      if (y % kCell == 0) draw_cells(label, y / kCell * cells_per_row * task_.channels, row);
      for (std::int64_t x = 0; x < task_.width; ++x) {
        const auto cell = static_cast<std::size_t>(x / kCell * task_.channels);
        for (std::int64_t c = 0; c < task_.channels; ++c) image[i++] = row[cell + static_cast<std::size_t>(c)];
      }
    }
  }

  void draw_cells(std::int64_t label, std::int64_t first, std::span<float> cells) const {
    for (float& cell : cells) cell = symmetric(random(label, static_cast<std::uint32_t>(first++), Purpose::pattern)[0]);
  }

  ImageTask task_;
  std::int64_t size_;
  std::uint64_t seed_;
  Split split_;
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
