#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "data/byte_images.h"
#include "data/byte_source.h"
#include "minim/model/data/dataset.h"

namespace minim {
namespace {

namespace fs = std::filesystem;

/// IDX magic numbers: 0, 0, element type 8 (unsigned byte), number of dimensions.
constexpr std::uint32_t kImagesMagic = 0x00000803;
constexpr std::uint32_t kLabelsMagic = 0x00000801;

constexpr const char* kBeginning = "an IDX header";

void expect_magic(ByteSource& source, std::uint32_t wanted, const std::string& what) {
  const std::uint32_t found = source.read_u32("the magic number");
  if (found != wanted) {
    source.fail(0, fmt::format("found magic number 0x{:08x}, wanted 0x{:08x} ({}) behind {}", found, wanted, what,
                               source.compressed() ? "gzip compression" : "no gzip header"));
  }
}

std::int64_t read_extent(ByteSource& source, const std::string& what) {
  const std::int64_t offset = source.offset();
  const std::int64_t extent = source.read_u32("the " + what);
  if (extent == 0) source.fail(offset, fmt::format("the {} is 0, wanted at least 1", what));
  return extent;
}

/// Reads the rest of the file as elements of the claimed size, after checking that so many can be there at all.
std::vector<std::uint8_t> read_elements(ByteSource& source, std::int64_t count, std::int64_t bytes_each,
                                        const std::string& what) {
  std::int64_t wanted = 0;
  if (__builtin_mul_overflow(count, bytes_each, &wanted) || wanted > source.largest_content_bytes()) {
    source.fail(source.offset(), fmt::format("the header claims {} {} of {} bytes, but the file has {} bytes", count, what,
                                             bytes_each, source.size_bytes()));
  }
  std::vector<std::uint8_t> elements(static_cast<std::size_t>(wanted));
  const auto all = fmt::format("{} {}", count, what);
  source.read(elements, all);
  source.expect_end(all);
  return elements;
}

struct ImageFile {
  fs::path path;
  std::int64_t count = 0;
  ByteImages images;  ///< without labels
};

ImageFile read_images(const fs::path& path) {
  ByteSource source(path, kBeginning);
  expect_magic(source, kImagesMagic, "images of unsigned bytes");
  ImageFile file;
  file.path = path;
  file.count = read_extent(source, "number of images");
  ImageTask& task = file.images.task;
  task.channels = 1;
  task.height = read_extent(source, "number of rows");
  task.width = read_extent(source, "number of columns");
  // Both below 2^32, so their product fits but for the last bit.
  if (task.height > INT64_MAX / task.width) source.fail(8, "the size of an image overflows 64 bits");
  file.images.pixels = read_elements(source, file.count, task.height * task.width, "images");
  return file;
}

std::vector<std::int32_t> read_labels(const fs::path& path, const ImageFile& images, std::int64_t classes) {
  ByteSource source(path, kBeginning);
  expect_magic(source, kLabelsMagic, "labels of one unsigned byte");
  const std::int64_t count = read_extent(source, "number of labels");
  if (count != images.count) {
    source.fail(4, fmt::format("{} labels, but {} has {} images", count, images.path.string(), images.count));
  }
  const auto labels = read_elements(source, count, 1, "labels");
  const auto bad = std::find_if(labels.begin(), labels.end(), [classes](std::uint8_t label) { return label >= classes; });
  if (bad != labels.end()) {
    source.fail(8 + (bad - labels.begin()), fmt::format("found label {}, wanted one in [0, {})", int{*bad}, classes));
  }
  return {labels.begin(), labels.end()};
}

}  // namespace

std::unique_ptr<Dataset> open_idx(const fs::path& directory, Split split, Augment augment, std::int64_t classes) {
  const std::string prefix = split == Split::train ? "train" : "t10k";
  const auto labels_path = find_file(directory, prefix + "-labels-idx1-ubyte", "labels");
  ImageFile file = read_images(find_file(directory, prefix + "-images-idx3-ubyte", "images"));
  ByteImages& images = file.images;
  images.task.classes = classes;
  images.labels = read_labels(labels_path, file, classes);
  if (split == Split::train) {
    auto normalisation = normalisation_of(images);
    return make_byte_dataset(std::move(images), std::move(normalisation), augment, file.path.string());
  }
  const auto training = read_images(find_file(directory, "train-images-idx3-ubyte", "images that give mean and deviation"));
  const ImageTask &found = images.task, &wanted = training.images.task;
  if (found.height != wanted.height || found.width != wanted.width) {
    throw DataError(fmt::format("{}: offset 8: images of {} x {}, but those of {} are {} x {}", file.path.string(), found.height,
                                found.width, training.path.string(), wanted.height, wanted.width));
  }
  return make_byte_dataset(std::move(images), normalisation_of(training.images), augment, file.path.string());
}

}  // namespace minim
