#include "data/byte_images.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

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

class ByteDataset final : public Dataset {
 public:
  ByteDataset(ByteImages images, Normalisation normalisation, std::string name)
      : images_(std::move(images)), normalisation_(std::move(normalisation)), name_(std::move(name)) {}

  std::int64_t size() const override { return static_cast<std::int64_t>(images_.labels.size()); }
  ImageTask task() const override { return images_.task; }
  std::int32_t read(std::int64_t index, std::span<float> image) const override {
    const auto elements = static_cast<std::size_t>(images_.elements_per_image());
    if (index < 0 || index >= size() || image.size() != elements) {
      throw InvalidArgument(fmt::format("{}: image {} into {} floats was asked for, there are {} images of {} values", name_,
                                        index, image.size(), size(), elements));
    }
    const std::uint8_t* pixels = images_.pixels.data() + static_cast<std::size_t>(index) * elements;
    const std::size_t channels = normalisation_.size();
    for (std::size_t i = 0; i < elements; i += channels) {
      for (std::size_t c = 0; c < channels; ++c) image[i + c] = normalisation_[c][pixels[i + c]];
    }
    return images_.labels[static_cast<std::size_t>(index)];
  }

 private:
  ByteImages images_;
  Normalisation normalisation_;
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

std::unique_ptr<Dataset> make_byte_dataset(ByteImages images, Normalisation normalisation, std::string name) {
  return std::make_unique<ByteDataset>(std::move(images), std::move(normalisation), std::move(name));
}

}  // namespace minim
