#include <fmt/format.h>

#include <utility>
#include <vector>

#include "data/byte_images.h"
#include "data/byte_source.h"
#include "minim/model/data/dataset.h"

namespace minim {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kSide = 32, kChannels = 3, kPlane = kSide * kSide;

/// A byte before the pixels of a record.
struct LabelByte {
  const char* name;
  std::uint8_t classes;
};

/// Source: Krizhevsky, "Learning multiple layers of features from tiny images", and its page cs.toronto.edu/~kriz/cifar.html,
/// "Binary version": records of label bytes and a red, a green and a blue plane, row by row.
struct Format {
  std::vector<LabelByte> labels;  ///< the last is what is learnt
  std::vector<std::string> train_files;
  std::string test_file;
};

Format cifar10() {
  return {.labels = {{"label", 10}},
          .train_files = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"},
          .test_file = "test_batch.bin"};
}
Format cifar100() {
  return {.labels = {{"coarse label", 20}, {"fine label", 100}}, .train_files = {"train.bin"}, .test_file = "test.bin"};
}

/// From planes to pixels.
void append_pixels(ByteImages& images, std::span<const std::uint8_t> planes) {
  for (std::size_t i = 0; i < kPlane; ++i) {
    for (std::size_t c = 0; c < kChannels; ++c) images.pixels.push_back(planes[c * kPlane + i]);
  }
}

void append_file(ByteImages& images, const fs::path& path, const Format& format) {
  const std::size_t labels = format.labels.size();
  std::vector<std::uint8_t> record(labels + kChannels * kPlane);
  ByteSource source(path, fmt::format("records of {} bytes", record.size()));
  for (std::int64_t number = 0; !source.at_end(); ++number) {
    const std::int64_t offset = source.offset();
    source.read(record, fmt::format("record {}", number));
    for (std::size_t i = 0; i < labels; ++i) {
      if (record[i] < format.labels[i].classes) continue;
      source.fail(offset + static_cast<std::int64_t>(i), fmt::format("found {} {}, wanted one in [0, {})", format.labels[i].name,
                                                                     int{record[i]}, format.labels[i].classes));
    }
    images.labels.push_back(record[labels - 1]);
    append_pixels(images, std::span(record).subspan(labels));
  }
}

ByteImages read_files(const fs::path& directory, const Format& format, Split split) {
  ByteImages images;
  images.task = {.height = kSide, .width = kSide, .channels = kChannels, .classes = format.labels.back().classes};
  if (split == Split::test) {
    append_file(images, find_file(directory, format.test_file, "test images"), format);
    return images;
  }
  std::vector<fs::path> paths;  // all are there before any is read
  for (const std::string& name : format.train_files) paths.push_back(find_file(directory, name, "training images"));
  for (const fs::path& path : paths) append_file(images, path, format);
  return images;
}

std::unique_ptr<Dataset> open_cifar(const fs::path& directory, const Format& format, Split split, Augment augment) {
  ByteImages images = read_files(directory, format, split);
  Normalisation normalisation = normalisation_of(split == Split::train ? images : read_files(directory, format, Split::train));
  return make_byte_dataset(std::move(images), std::move(normalisation), augment, directory.string());
}

}  // namespace

std::unique_ptr<Dataset> open_cifar10(const fs::path& directory, Split split, Augment augment) {
  return open_cifar(directory, cifar10(), split, augment);
}
std::unique_ptr<Dataset> open_cifar100(const fs::path& directory, Split split, Augment augment) {
  return open_cifar(directory, cifar100(), split, augment);
}

}  // namespace minim
