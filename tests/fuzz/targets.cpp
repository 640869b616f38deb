#include "fuzz/targets.h"

#include <algorithm>
#include <stdexcept>

#include "data/encoded_image.h"
#include "data/image_window.h"
#include "data/shard_index.h"
#include "minim/model/data/dataset.h"
#include "model/data/idx_files.h"
#include "scratch_directory.h"

namespace minim::testing {
namespace {

namespace fs = std::filesystem;

/// Larger images are sound, but slow.
constexpr std::int64_t kMostFuzzedPixels = 1 << 20;

/// Files for readers of files, for as long as the process runs.
const fs::path& scratch() {
  static const ScratchDirectory directory;
  return directory.path();
}

void read_all(const Dataset& dataset) {
  const ImageTask task = dataset.task();
  std::vector<float> image(static_cast<std::size_t>(task.height * task.width * task.channels));
  for (std::int64_t i = 0; i < std::min<std::int64_t>(dataset.size(), 100); ++i) {
    const std::int32_t label = dataset.read_augmented(i, {.seed = 1, .position = i}, image);
    if (label < 0 || label >= task.classes) throw std::logic_error("a label out of range");
  }
}

/// Whether `read` takes the bytes or throws DataError does not matter.
template <class Read>
void tolerate(Read&& read) {
  try {
    read();
  } catch (const DataError&) {
  }
}

void read_idx(std::span<const std::uint8_t> bytes) {
  const Bytes file(bytes.begin(), bytes.end());
  const auto images = scratch() / "train-images-idx3-ubyte", labels = scratch() / "train-labels-idx1-ubyte";
  write_raw(images, file);
  write_raw(labels, idx_labels(3));
  tolerate([] { read_all(*open_idx(scratch(), Split::train, Augment::crop_flip)); });
  write_raw(images, idx_images(3, 4, 5));
  write_raw(labels, file);
  tolerate([] { read_all(*open_idx(scratch(), Split::train, Augment::crop_flip)); });
}

void read_cifar(std::span<const std::uint8_t> bytes) {
  write_raw(scratch() / "train.bin", Bytes(bytes.begin(), bytes.end()));
  tolerate([] { read_all(*open_cifar100(scratch(), Split::train, Augment::crop_flip)); });
}

void read_image(std::span<const std::uint8_t> bytes) {
  tolerate([bytes] {
    for (const int reduction : {1, 2, 8}) {
      const auto image = read_image_header(bytes);
      if (image->height() * image->width() > kMostFuzzedPixels) return;
      const Bitmap bitmap = with_channels(image->decode(reduction), reduction == 2 ? 1 : 3);
      std::vector<float> seen(static_cast<std::size_t>(9 * 7 * bitmap.channels));
      resample(bitmap, central_window(bitmap.height, bitmap.width, 7), 9, 7, seen);
      resample(bitmap, random_window({.seed = bytes.size(), .position = 0}, bitmap.height, bitmap.width), 9, 7, seen);
    }
  });
}

void read_shard(std::span<const std::uint8_t> bytes) {
  const auto path = scratch() / "train-0.tar";
  write_raw(path, Bytes(bytes.begin(), bytes.end()));
  tolerate([&path] {
    const RandomAccessFile shard(path);
    for (const ShardImage& image : index_shard(shard)) {
      Bytes content(static_cast<std::size_t>(image.size_bytes));
      shard.read(image.offset, content, "an image");
    }
  });
}

}  // namespace

const std::vector<FuzzTarget>& fuzz_targets() {
  static const std::vector<FuzzTarget> all = {
      {"cifar", read_cifar}, {"idx", read_idx}, {"image", read_image}, {"shard", read_shard}};
  return all;
}

}  // namespace minim::testing
