#include <fmt/format.h>

#include <array>
#include <utility>

#include "data/bitmap_cache.h"
#include "data/encoded_image.h"
#include "data/encoded_source.h"
#include "data/image_window.h"

namespace minim {
namespace {

/// Of a channel of [0, 1].
struct Distribution {
  float mean, deviation;
};

/// Of red, green and blue in the training images of ImageNet, as networks that were trained elsewhere expect it (torchvision's
/// reference weights). Of grey: their averages.
constexpr std::array<Distribution, 3> kColour = {{{0.485F, 0.229F}, {0.456F, 0.224F}, {0.406F, 0.225F}}};
constexpr std::array<Distribution, 1> kGrey = {{{0.449F, 0.226F}}};

void normalise(std::span<float> image, std::span<const Distribution> channels) {
  for (std::size_t c = 0; c < channels.size(); ++c) {
    const float scale = 1 / (255 * channels[c].deviation);
    const float shift = channels[c].mean / channels[c].deviation;
    for (std::size_t i = c; i < image.size(); i += channels.size()) image[i] = image[i] * scale - shift;
  }
}

/// How much smaller an image may be decoded so that a window of it still has twice `size` pixels a side: with fewer, resampling
/// would blur what it could have shown.
int reduction_for(const Window& window, std::int64_t size) {
  for (const int reduction : {8, 4, 2}) {
    const auto needed = static_cast<double>(2 * reduction * size);
    if (window.height >= needed && window.width >= needed) return reduction;
  }
  return 1;
}

class EncodedDataset final : public Dataset {
 public:
  EncodedDataset(std::unique_ptr<EncodedSource> source, const PhotoOptions& options)
      : source_(std::move(source)), options_(options) {
    if (options.size < 1 || (options.channels != 1 && options.channels != 3)) {
      throw InvalidArgument(fmt::format("photos as {} x {} pixels of {} channels, wanted at least 1 x 1 of 1 or 3", options.size,
                                        options.size, options.channels));
    }
    if (options.cache_bytes > 0) {
      cache_ = std::make_unique<BitmapCache>(source_->size(), options.cache_bytes, options.account);
    }
  }

  std::int64_t size() const override { return source_->size(); }
  ImageTask task() const override {
    return {.height = options_.size, .width = options_.size, .channels = options_.channels, .classes = source_->classes()};
  }
  std::int32_t read(std::int64_t index, std::span<float> image) const override { return decode(index, nullptr, image); }
  std::int32_t read_augmented(std::int64_t index, const SampleKey& key, std::span<float> image) const override {
    return decode(index, options_.augment == Augment::none ? nullptr : &key, image);
  }

 private:
  /// `key`: null for the middle of the image.
  std::int32_t decode(std::int64_t index, const SampleKey* key, std::span<float> image) const {
    const std::int64_t elements = options_.size * options_.size * options_.channels;
    if (index < 0 || index >= size() || static_cast<std::int64_t>(image.size()) != elements) {
      throw InvalidArgument(fmt::format("image {} into {} floats was asked for, there are {} images of {} values", index,
                                        image.size(), size(), elements));
    }
    show(index, key, image);
    options_.channels == 3 ? normalise(image, kColour) : normalise(image, kGrey);
    return source_->label(index);
  }

  void show(std::int64_t index, const SampleKey* key, std::span<float> image) const {
    if (show_kept(index, key, image)) return;
    with_image(index, [&](EncodedImage& encoded) {
      const Window window = window_of(encoded.height(), encoded.width(), key);
      const int reduction = reduction_for(window, options_.size);
      const auto bitmap = std::make_shared<const Bitmap>(with_channels(encoded.decode(reduction), options_.channels));
      const double down = static_cast<double>(bitmap->height) / static_cast<double>(encoded.height());
      const double across = static_cast<double>(bitmap->width) / static_cast<double>(encoded.width());
      resample(*bitmap,
               {window.top * down, window.left * across, window.height * down, window.width * across, window.is_mirrored},
               options_.size, options_.size, image);
      if (cache_ && reduction == 1) cache_->add(index, bitmap);
    });
  }

  /// Whether the cache has the image; not for a window of which a smaller image would have been decoded, so that the cache
  /// changes nothing that is seen.
  bool show_kept(std::int64_t index, const SampleKey* key, std::span<float> image) const {
    const auto bitmap = cache_ ? cache_->find(index) : nullptr;
    if (!bitmap) return false;
    const Window window = window_of(bitmap->height, bitmap->width, key);
    if (reduction_for(window, options_.size) > 1) return false;
    resample(*bitmap, window, options_.size, options_.size, image);
    return true;
  }

  Window window_of(std::int64_t height, std::int64_t width, const SampleKey* key) const {
    return key != nullptr ? random_window(*key, height, width) : central_window(height, width, options_.size);
  }

  /// Calls `use` with an image of which the header has been read, and gives what is wrong with it the file's name.
  template <class Use>
  void with_image(std::int64_t index, Use&& use) const {
    const std::vector<std::uint8_t> bytes = source_->read(index);
    try {
      use(*read_image_header(bytes));
    } catch (const DataError& error) {
      throw DataError(fmt::format("{}: {}", source_->name(index), error.what()));
    }
  }

  std::unique_ptr<EncodedSource> source_;
  PhotoOptions options_;
  std::unique_ptr<BitmapCache> cache_;  ///< or null
};

}  // namespace

std::unique_ptr<Dataset> make_encoded_dataset(std::unique_ptr<EncodedSource> source, const PhotoOptions& options) {
  return std::make_unique<EncodedDataset>(std::move(source), options);
}

}  // namespace minim
