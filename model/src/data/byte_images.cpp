#include "data/byte_images.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "data/sample_random.h"

namespace minim {
namespace {

std::array<float, 256> table_of(const std::array<std::int64_t, 256>& histogram, double count) {
  double mean = 0;
  for (std::size_t v = 0; v < 256; ++v) mean += static_cast<double>(v) / 255.0 * static_cast<double>(histogram[v]) / count;
  const auto centred = [mean](std::size_t v) { return static_cast<double>(v) / 255.0 - mean; };
  double variance = 0;
  for (std::size_t v = 0; v < 256; ++v) variance += centred(v) * centred(v) * static_cast<double>(histogram[v]) / count;
  const double deviation = variance > 0 ? std::sqrt(variance) : 1.0;  // images of one colour stay finite
  std::array<float, 256> table{};
  for (std::size_t v = 0; v < 256; ++v) table[v] = static_cast<float>(centred(v) / deviation);
  return table;
}

/// Where the pixels of an image come from: (y + down, x + right), or the mirror image of that.
struct Move {
  std::int64_t down = 0, right = 0;
  bool is_mirrored = false;
};

Move random_move(const SampleKey& key) {
  constexpr std::int64_t kFarthest = 4;
  const auto words = random_words(key, 0);
  return {.down = below(2 * kFarthest + 1, words[0]) - kFarthest,
          .right = below(2 * kFarthest + 1, words[1]) - kFarthest,
          .is_mirrored = below(2, words[2]) == 1};
}

class ByteDataset final : public Dataset {
 public:
  ByteDataset(ByteImages images, Normalisation normalisation, Augment augment, std::string name)
      : images_(std::move(images)), normalisation_(std::move(normalisation)), augment_(augment), name_(std::move(name)) {}

  std::int64_t size() const override { return static_cast<std::int64_t>(images_.labels.size()); }
  ImageTask task() const override { return images_.task; }
  std::int32_t read(std::int64_t index, std::span<float> image) const override { return write(index, Move{}, image); }
  std::int32_t read_augmented(std::int64_t index, const SampleKey& key, std::span<float> image) const override {
    return write(index, augment_ == Augment::none ? Move{} : random_move(key), image);
  }

 private:
  std::int32_t write(std::int64_t index, const Move& move, std::span<float> image) const {
    const std::int64_t elements = images_.elements_per_image();
    if (index < 0 || index >= size() || static_cast<std::int64_t>(image.size()) != elements) {
      throw InvalidArgument(fmt::format("{}: image {} into {} floats was asked for, there are {} images of {} values", name_,
                                        index, image.size(), size(), elements));
    }
    const ImageTask& task = images_.task;
    const std::uint8_t* pixels = images_.pixels.data() + index * elements;
    float* out = image.data();
    for (std::int64_t y = move.down; y < task.height + move.down; ++y) {
      for (std::int64_t column = 0; column < task.width; ++column, out += task.channels) {
        const std::int64_t x = (move.is_mirrored ? task.width - 1 - column : column) + move.right;
        const bool is_inside = y >= 0 && y < task.height && x >= 0 && x < task.width;
        write_pixel(is_inside ? pixels + (y * task.width + x) * task.channels : nullptr, out);
      }
    }
    return images_.labels[static_cast<std::size_t>(index)];
  }

  /// `pixel`: null outside of the image.
  void write_pixel(const std::uint8_t* pixel, float* out) const {
    for (std::size_t c = 0; c < normalisation_.size(); ++c) out[c] = pixel != nullptr ? normalisation_[c][pixel[c]] : 0.0F;
  }

  ByteImages images_;
  Normalisation normalisation_;
  Augment augment_;
  std::string name_;
};

}  // namespace

Normalisation normalisation_of(const ByteImages& images) {
  const auto channels = static_cast<std::size_t>(images.task.channels);
  std::vector<std::array<std::int64_t, 256>> histograms(channels);
  for (std::size_t i = 0; i < images.pixels.size(); i += channels) {
    for (std::size_t c = 0; c < channels; ++c) ++histograms[c][images.pixels[i + c]];
  }
  Normalisation normalisation;
  const double count = static_cast<double>(images.pixels.size() / channels);
  for (const auto& histogram : histograms) normalisation.push_back(table_of(histogram, count));
  return normalisation;
}

std::unique_ptr<Dataset> make_byte_dataset(ByteImages images, Normalisation normalisation, Augment augment, std::string name) {
  return std::make_unique<ByteDataset>(std::move(images), std::move(normalisation), augment, std::move(name));
}

}  // namespace minim
